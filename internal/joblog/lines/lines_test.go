package lines

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	terminal "github.com/buildkite/terminal-to-html/v3"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files")

func source(log string) Source {
	return func(offset int64) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(log[offset:])), nil
	}
}

func render(t testing.TB, log string) []Line {
	t.Helper()
	got, err := Render(source(log), Checkpoint{}, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestLogsRenderAsTheirGoldenPairs(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("golden pairs: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			golden(t, file)
		})
	}
}

// golden compares the file log, in which \e, \a, \r and \b stand for control characters, with the files html and text.
func golden(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw := strings.TrimSuffix(string(archive.Files[0].Data), "\n")
	raw = strings.NewReplacer(`\e`, "\x1b", `\a`, "\a", `\r`, "\r", `\b`, "\b").Replace(raw)
	var markup, text bytes.Buffer
	for _, line := range render(t, raw) {
		fmt.Fprintf(&markup, "%d %d %d %s\n", line.Number, line.Time, line.Kind, line.HTML)
		fmt.Fprintf(&text, "%s|\n", line.Text)
	}
	got := &txtar.Archive{Comment: archive.Comment, Files: []txtar.File{
		archive.Files[0], {Name: "html", Data: markup.Bytes()}, {Name: "text", Data: text.Bytes()},
	}}
	if *update {
		if err := os.WriteFile(file, txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(txtar.Format(archive)), string(txtar.Format(got))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// pieces are what logs are made of; joined at random they tie rows together in most ways there are.
var pieces = []string{
	"plain text", "ünïcode 世界", "error: no", "\n", "\r\n", "\r\r\n", "\r", "\b", "\t", "\x1b[31m", "\x1b[1;44m", "\x1b[0m", "\x1b[38;5;200m",
	"\x1b[38;2;10;200;30m", "\x1b[m", "\x1b[2K", "\x1b[K", "\x1b[1K", "\x1b[J", "\x1b[2J", "\x1b[H", "\x1b[3;5H", "\x1b[A", "\x1b[3A", "\x1b[200A",
	"\x1b[B", "\x1b[2F", "\x1b[E", "\x1b[5C", "\x1b[3D", "\x1b[10G", "\x1b7", "\x1b8", "\x1b[s", "\x1b[u", "\x1bM", "--- group\n", "+++ group\n",
	"^^^ +++\n", "\x1b_bk;t=1700000000000\a", "\x1b_bk;dt=5\a", "\x1b]8;;https://example.com/a;b\x1b\\", "\x1b]8;;\x1b\\", "\x1b]8;;javascript:alert(1)\a",
	"\x1b]1339;url=https://example.com/;content=link\a", "\x1b]1338;url=artifact://a.png;alt=picture\a", "\x1b]broken", "\x1b_broken", "\x1b[", "\x1b",
	"<script>&\"'", "\xff\xfe", "\x00", strings.Repeat("w", 200), strings.Repeat("é", 170), strings.Repeat("\n", 120),
}

func drawLog(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 120).Draw(t, "log"), "")
}

func TestPiecesOfAnySizeGiveTheSameRows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		log := drawLog(t)
		size := rapid.IntRange(1, 40).Draw(t, "piece")
		whole, parts := track(log, len(log)+1), track(log, size)
		if diff := cmp.Diff(whole, parts, cmp.AllowUnexported(Row{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

func track(log string, piece int) []Row {
	var rows []Row
	tracker := NewTracker(Checkpoint{}, func(r *Row) { rows = append(rows, *r) })
	for rest := log; rest != ""; rest = rest[min(piece, len(rest)):] {
		_, _ = tracker.Write([]byte(rest[:min(piece, len(rest))]))
	}
	last, _ := tracker.Rest()
	return append(rows, last...)
}

func TestAWindowFromAnyBlockRendersAsTheWholeLog(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		log := drawLog(t) + strings.Repeat("filler\n", rapid.SampledFrom([]int{0, 150}).Draw(t, "filler"))
		rows := track(log, 1<<20)
		whole, err := Render(source(log), Checkpoint{}, 0, 1<<20)
		if err != nil || len(whole) != len(rows) {
			t.Fatalf("%d lines, %d rows, %v", len(whole), len(rows), err)
		}
		if len(rows) == 0 {
			return
		}
		at := rapid.IntRange(0, len(rows)-1).Draw(t, "block")
		r := rows[at]
		if r.Block != r.Line {
			return
		}
		from := rapid.IntRange(at, len(rows)-1).Draw(t, "from")
		count := rapid.IntRange(1, 30).Draw(t, "count")
		got, err := Render(source(log), Checkpoint{Line: r.Line, Offset: r.Start, Time: r.clock, Style: r.Style}, int64(from), count)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(whole[from:min(from+count, len(whole))], got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestAnIndexStoredAndContinuedIsTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		log := drawLog(t) + strings.Repeat("x\n", 150) + drawLog(t) + strings.Repeat("error: y\n", 2500)
		at := rapid.IntRange(0, len(log)).Draw(t, "at")
		whole := NewIndex(Settled{})
		_, _ = whole.Write([]byte(log))
		first := NewIndex(Settled{})
		_, _ = first.Write([]byte(log[:at]))
		stored := first.Settled()
		second := NewIndex(stored)
		_, _ = second.Write([]byte(log[stored.Resume.Offset:]))
		if diff := cmp.Diff(whole.Settled(), second.Settled()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestPlainRowsLookTheSameOnTheScreen holds the two ways of drawing against each other.
func TestPlainRowsLookTheSameOnTheScreen(t *testing.T) {
	t.Parallel()
	plainPieces := []string{
		"text", " spaced ", "ünïcode", "<b>&\"'/", "\x1b[31m", "\x1b[1m", "\x1b[92;104m", "\x1b[0m", "\x1b[38;5;9m", "\x1b[48;2;255;0;0m", "\x1b[3;4;5;9m",
		"\x1b[22m", "\x1b]8;;https://example.com/\a", "\x1b]8;;\a", "\xff",
	}
	rapid.Check(t, func(t *rapid.T) {
		row := strings.Join(rapid.SliceOfN(rapid.SampledFrom(plainPieces), 0, 30).Draw(t, "row"), "")
		spans, err := Render(source(row), Checkpoint{}, 0, 1)
		if err != nil || len(spans) == 0 {
			return
		}
		s, err := newScreen(1000)
		if err != nil {
			t.Fatal(err)
		}
		tracker := NewTracker(Checkpoint{}, nil)
		tracker.draw = s
		tracker.consume([]byte(row), true)
		got := s.rows()[0]
		if diff := cmp.Diff(styled(spans[0].HTML), styled(got)); diff != "" {
			t.Fatalf("%q:\n%s", row, diff)
		}
	})
}

// styled spells out which text has which classes and which link, in whatever way the elements nest.
func styled(row string) []string {
	var out []string
	class, link := "", ""
	for _, tag := range regexp.MustCompile(`<[^>]*>|[^<]+`).FindAllString(row, -1) {
		switch {
		case strings.HasPrefix(tag, "<span"):
			class = tag
		case tag == "</span>":
			class = ""
		case strings.HasPrefix(tag, "<a"):
			link = tag
		case tag == "</a>":
			link = ""
		default:
			for _, r := range html.UnescapeString(tag) {
				out = append(out, fmt.Sprintf("%c %s %s", r, class, link))
			}
		}
	}
	for len(out) > 0 && out[len(out)-1][0] == ' ' {
		out = out[:len(out)-1] // the library trims blanks at the end of a row, if no element ends there
	}
	return out
}

// TestColoursAreThoseOfTheLibrary feeds the same sequences to terminal-to-html, whose classes the pages' style sheet defines.
func TestColoursAreThoseOfTheLibrary(t *testing.T) {
	t.Parallel()
	for n := range 256 {
		for _, format := range []string{"\x1b[%dmx", "\x1b[1;38;5;%dmx", "\x1b[48;5;%d;3mx"} {
			log := fmt.Sprintf(format, n)
			if format == "\x1b[%dmx" && (n == 38 || n == 48) {
				continue
			}
			screen, err := terminal.NewScreen()
			if err != nil {
				t.Fatal(err)
			}
			_, _ = screen.Write([]byte(log))
			if diff := cmp.Diff(screen.AsHTML(), render(t, log)[0].HTML); diff != "" {
				t.Errorf("%q: %s", log, diff)
			}
		}
	}
}

func TestTheMarkThatOpensAGroupIsNoLine(t *testing.T) {
	t.Parallel()
	const mark = "\x1b_bk;t=1700000000005\a^^^ +++\r\n"
	for _, tc := range []struct {
		name, log string
		want      []string
		open      []bool
	}{
		{"between lines", "--- a\nfails\n" + mark + "why\n" + mark, []string{"--- a", "fails", "why"}, []bool{true}},
		{"twice", "--- a\n" + mark + mark + "--- b\nx\n", []string{"--- a", "--- b", "x"}, []bool{true, true}},
		{"without a line end", "~~~ a\nx\n^^^ +++", []string{"~~~ a", "x"}, []bool{true}},
		{"first of all", mark + "~~~ a\nx\n", []string{"~~~ a", "x"}, []bool{false}},
		{"before an empty line", "~~~ a\n" + mark + "\nx\n", []string{"~~~ a", "", "x"}, []bool{true}},
		{"not quite", "~~~ a\n^^^ ++\n^^^ +++ x\n ^^^\n", []string{"~~~ a", "^^^ ++", "^^^ +++ x", " ^^^"}, []bool{false}},
	} {
		var text []string
		for _, l := range render(t, tc.log) {
			text = append(text, l.Text)
		}
		x := NewIndex(Settled{})
		_, _ = x.Write([]byte(tc.log))
		var isOpen []bool
		groups, _ := x.View()
		for _, g := range groups {
			isOpen = append(isOpen, g.Open)
		}
		total, _ := x.Lines()
		if diff := cmp.Diff(tc.want, text) + cmp.Diff(tc.open, isOpen); diff != "" || int(total) != len(tc.want) {
			t.Errorf("%s: %d lines (-want +got):\n%s", tc.name, total, diff)
		}
		found, err := Search(source(tc.log), Checkpoint{}, query(t, "^^^ +++"), 0, 10, never)
		if err != nil || len(found.Lines) > 0 && tc.name != "not quite" {
			t.Errorf("%s: found %v, %v", tc.name, found, err)
		}
	}
}

func TestLongLinesAreCutWithTheirFullLength(t *testing.T) {
	t.Parallel()
	got := render(t, "short\n"+strings.Repeat("é", 600_000)+"\nafter\n")
	if len(got) != 4 {
		t.Fatalf("%d lines, want short, two halves of what is over 1 MiB, after", len(got))
	}
	long := got[1]
	if !long.Cut || len(long.Text) != MaxText || long.Length < 1<<20 || long.End-long.Start != int64(long.Length) {
		t.Errorf("cut %v, %d bytes of %d at %d to %d", long.Cut, len(long.Text), long.Length, long.Start, long.End)
	}
	if got[2].Length+long.Length != 1_200_000 || strings.Contains(long.Text+got[2].Text, "\uFFFD") {
		t.Errorf("the halves have %d and %d bytes", long.Length, got[2].Length)
	}
	if got[0].Cut || got[3].Cut || got[3].Text != "after" {
		t.Errorf("neighbours: %+v, %+v", got[0], got[3])
	}
}

func TestAnEndlessProgressBarStaysBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&b, "\r%d %%\x1b[K", i)
	}
	got := render(t, "start\n"+b.String()+"\nend\n")
	if n := len(got); n < 3 || n > 10 || got[n-1].Text != "end" || got[n-2].Text != "99999 %" {
		t.Errorf("%d lines, the last is %q", n, got[n-1].Text)
	}
}

func TestStripMarkersRemovesOnlyMarkers(t *testing.T) {
	t.Parallel()
	long := "\x1b_bk;" + strings.Repeat("x", 200) + "\a"
	for log, want := range map[string]string{
		"":                                   "",
		"plain":                              "plain",
		"\x1b_bk;t=1700000000000\aline\r\n":  "line\r\n",
		"a\x1b_bk;t=1\x1b\\b\x1b_bk;dt=5\ac": "abc",
		"\x1b[31mred\x1b[0m":                 "\x1b[31mred\x1b[0m",
		"\x1b_other\a":                       "\x1b_other\a",
		"end\x1b_bk;t=1":                     "end\x1b_bk;t=1",
		"end\x1b":                            "end\x1b",
		long:                                 long,
	} {
		for _, r := range []io.Reader{strings.NewReader(log), iotest.OneByteReader(strings.NewReader(log)), iotest.DataErrReader(strings.NewReader(log))} {
			got, err := io.ReadAll(StripMarkers(r))
			if err != nil || string(got) != want {
				t.Errorf("%q: got %q, %v, want %q", log, got, err, want)
			}
		}
	}
	broken := errors.New("disk")
	if _, err := io.ReadAll(StripMarkers(io.MultiReader(strings.NewReader("x"), iotest.ErrReader(broken)))); !errors.Is(err, broken) {
		t.Errorf("the reader's error is lost: %v", err)
	}
}

// safe is all the markup that a rendered line may hold.
var safe = regexp.MustCompile(`^(?:[^<>"]|<span class="[a-z0-9 -]+">|</span>|<a rel="noreferrer noopener nofollow" href="https?://[^"<>]*">|</a>)*$`)

func FuzzRender(f *testing.F) {
	for _, p := range pieces {
		f.Add(p + "a\nb" + p)
	}
	f.Add(strings.Join(pieces, ""))
	f.Fuzz(func(t *testing.T, log string) {
		for _, line := range render(t, log) {
			if !safe.MatchString(line.HTML) {
				t.Errorf("unsafe HTML %q", line.HTML)
			}
			if strings.ContainsAny(line.Text, "\x1b\n\r") {
				t.Errorf("control characters in %q", line.Text)
			}
		}
	})
}

func BenchmarkTracker(b *testing.B) {
	var log bytes.Buffer
	for i := 0; log.Len() < 1<<20; i++ {
		fmt.Fprintf(&log, "\x1b_bk;t=%d\a\x1b[32mPASS\x1b[0m [ %d.%03ds] parse::test_%x retains some/path/to/file_%d.go:%d\r\n",
			1_700_000_000_000+i*17, i%9, i*7919%1000, i*2654435761%0xffffff, i%91, i*31%977)
	}
	b.SetBytes(int64(log.Len()))
	b.ReportAllocs()
	x := NewIndex(Settled{})
	for b.Loop() {
		_, _ = x.Write(log.Bytes())
	}
}
