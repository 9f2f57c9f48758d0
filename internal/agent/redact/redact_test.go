package redact

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func redacted(t *testing.T, secrets []string, writes ...string) string {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out)
	w.Add(secrets...)
	for _, s := range writes {
		if _, err := w.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestSecretsAreReplaced(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		secrets []string
		writes  []string
		want    string
	}{
		{"whole", []string{"hunter22"}, []string{"a hunter22 b"}, "a [REDACTED] b"},
		{"split over writes", []string{"hunter22"}, []string{"a hun", "t", "er22 b"}, "a [REDACTED] b"},
		{"false start at the end", []string{"hunter22"}, []string{"a hunt"}, "a hunt"},
		{"adjacent", []string{"hunter22"}, []string{"hunter22hunter22"}, "[REDACTED][REDACTED]"},
		{"longest wins", []string{"secret", "secretive"}, []string{"secreti", "ve!"}, "[REDACTED]!"},
		{"shorter after all", []string{"secret", "secretive"}, []string{"secreti", "on"}, "[REDACTED]ion"},
		{"overlapping values", []string{"abcdef", "defghi"}, []string{"xabcdefghiy"}, "x[REDACTED]y"},
		{"overlap over writes", []string{"abcdef", "defghi"}, []string{"xabcdef", "ghiy"}, "x[REDACTED]y"},
		{"too short", []string{"tiny"}, []string{"tiny"}, "tiny"},
		{"terminal line ends", []string{"line1\nline2\n"}, []string{"line1\r\nline2\r\n"}, "[REDACTED]\r\n"},
		{"quoted", []string{"pass\"word"}, []string{`pass\"word`}, "[REDACTED]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, redacted(t, tc.secrets, tc.writes...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSplittingNeverChangesTheResult(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		word := rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 6, 9, -1)
		secrets := rapid.SliceOfN(word, 1, 3).Draw(rt, "secrets")
		text := rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 0, 60, -1).Draw(rt, "text")
		var parts []string
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(rt, "n")
			parts, rest = append(parts, rest[:n]), rest[n:]
		}
		whole, split := redacted(t, secrets, text), redacted(t, secrets, parts...)
		if whole != split {
			rt.Fatalf("whole %q, split %q", whole, split)
		}
		for _, s := range secrets {
			if strings.Contains(whole, s) {
				rt.Fatalf("%q still contains %q", whole, s)
			}
		}
	})
}

func TestValuesAreChosenByName(t *testing.T) {
	t.Parallel()
	values, short := Values(DefaultNames(), map[string]string{
		"DB_PASSWORD": "correct horse", "API_TOKEN": "none", "PATH": "/usr/bin", "EMPTY_SECRET": "",
	})
	if want := []string{"correct horse"}; !slices.Equal(values, want) {
		t.Errorf("values %q, want %q", values, want)
	}
	if want := []string{"API_TOKEN"}; !slices.Equal(short, want) {
		t.Errorf("short %q, want %q", short, want)
	}
}

func FuzzWriter(f *testing.F) {
	f.Add("secret", "a secret", "s here")
	f.Fuzz(func(t *testing.T, secret, a, b string) {
		if got, want := redacted(t, []string{secret}, a, b), redacted(t, []string{secret}, a+b); got != want {
			t.Errorf("split %q, whole %q", got, want)
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	line := []byte(strings.Repeat("[ 42%] Building CXX object src/foo.cpp.o\r\n", 100))
	w := NewWriter(discard{})
	w.Add("correct horse battery", "Bsomething-secret", "another-one")
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, err := w.Write(line); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
