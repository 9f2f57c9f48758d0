package condition

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strings"
)

// compileRegexp turns a Ruby-like pattern into an RE2 one that matches the
// same strings, or says what in it has no counterpart. Offset is where the
// pattern begins in the source.
func compileRegexp(pattern string, fold bool, offset int) (*regexp.Regexp, error) {
	t := translation{src: pattern, base: offset}
	if err := t.run(); err != nil {
		return nil, err
	}
	// Ruby's ^ and $ are always line anchors.
	flags := "(?m)"
	if fold {
		flags = "(?mi)"
	}
	re, err := regexp.Compile(flags + t.out.String())
	if err != nil {
		return nil, problemAt(offset, "the regular expression is not valid: %s", reason(err, flags))
	}
	return re, nil
}

// reason leaves out the package's prefix and keeps what is wrong and where,
// without the flags that nobody wrote.
func reason(err error, flags string) string {
	if e, ok := errors.AsType[*syntax.Error](err); ok {
		return e.Code.String() + ": `" + strings.TrimPrefix(e.Expr, flags) + "`"
	}
	return err.Error()
}

type translation struct {
	src  string
	base int
	at   int
	out  strings.Builder
}

func (t *translation) rest() string { return t.src[t.at:] }

func (t *translation) copy(n int) {
	n = min(n, len(t.src)-t.at)
	t.out.WriteString(t.src[t.at : t.at+n])
	t.at += n
}

func (t *translation) replace(n int, by string) {
	t.out.WriteString(by)
	t.at += n
}

func (t *translation) refuse(construct string) error {
	return problemAt(t.base+t.at, "regular expressions here have no %s", construct)
}

func (t *translation) run() error {
	for t.at < len(t.src) {
		var err error
		switch t.src[t.at] {
		case '\\':
			err = t.escape(outsideClass)
		case '[':
			err = t.class()
		case '(':
			err = t.group()
		case '*', '+', '?':
			err = t.quantifier()
		case '{':
			t.interval()
		default:
			t.copy(1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// quantifier copies * + ? with the ? of a lazy one.
func (t *translation) quantifier() error {
	if strings.HasPrefix(t.rest()[1:], "+") {
		return t.refuse("possessive quantifiers")
	}
	t.copy(1)
	if strings.HasPrefix(t.rest(), "?") {
		t.copy(1)
	}
	return nil
}

// upTo is the interval of Ruby that has no lower bound; RE2 would take it for a text.
var upTo = regexp.MustCompile(`^\{,\d+\}`)

func (t *translation) interval() {
	if upTo.MatchString(t.rest()) {
		t.replace(1, "{0")
		return
	}
	t.copy(1)
}

// refusedGroups is searched in order: a longer opening comes first.
var refusedGroups = [...]struct{ opening, construct string }{
	{"(?<=", "look-behind"},
	{"(?<!", "look-behind"},
	{"(?=", "look-ahead"},
	{"(?!", "look-ahead"},
	{"(?>", "atomic groups"},
	{"(?<", "named groups"},
	{"(?'", "named groups"},
	{"(?P", "named groups"},
	{"(?(", "conditionals"},
	{"(?#", "comments"},
	{"(?~", "absence operators"},
}

func (t *translation) group() error {
	for _, g := range refusedGroups {
		if strings.HasPrefix(t.rest(), g.opening) {
			return t.refuse(g.construct)
		}
	}
	if !strings.HasPrefix(t.rest(), "(?") {
		t.copy(1)
		return nil
	}
	t.copy(2)
	for t.at < len(t.src) && strings.IndexByte(":)", t.src[t.at]) < 0 {
		switch t.src[t.at] {
		case 'm': // in Ruby, the dot also matches a newline
			t.replace(1, "s")
		case 'i', '-':
			t.copy(1)
		default:
			return t.refuse("`" + t.src[t.at:t.at+1] + "` among a group's options")
		}
	}
	return nil
}

// outsideClass and insideClass give RE2's form of escapes that it lacks.
var (
	outsideClass = map[byte]string{
		'h': `[0-9a-fA-F]`, 'H': `[^0-9a-fA-F]`, 'e': `\x1b`, '/': `/`,
		'R': `(?:\r\n|[\n\v\f\r\x{85}\x{2028}\x{2029}])`, 'Z': `(?:\n?\z)`,
	}
	insideClass = map[byte]string{'h': `0-9a-fA-F`, 'e': `\x1b`, '/': `/`, 'b': `\x08`}
)

func (t *translation) escape(table map[byte]string) error {
	if t.at+1 == len(t.src) {
		return t.refuse("pattern that ends in a backslash")
	}
	c := t.src[t.at+1]
	switch by, ok := table[c]; {
	case ok:
		t.replace(2, by)
	case '1' <= c && c <= '9' || c == 'k':
		return t.refuse("back-references")
	case strings.IndexByte("gGKXQEC", c) >= 0:
		return t.refuse("`\\" + string(c) + "`")
	default:
		t.copy(2)
	}
	return nil
}

// class copies a bracket expression. POSIX names such as [:digit:] mean the
// same to RE2; Ruby's sets within sets do not exist there.
func (t *translation) class() error {
	t.copy(1)
	if strings.HasPrefix(t.rest(), "^") {
		t.copy(1)
	}
	for first := true; t.at < len(t.src); first = false {
		rest := t.rest()
		switch {
		case rest[0] == ']' && !first:
			t.copy(1)
			return nil
		case rest[0] == '\\':
			if err := t.escape(insideClass); err != nil {
				return err
			}
		case strings.HasPrefix(rest, "[:"):
			t.copy(max(2, strings.Index(rest, ":]")+2))
		case rest[0] == '[':
			return t.refuse("sets within sets; a literal bracket is written `\\[`")
		case strings.HasPrefix(rest, "&&"):
			return t.refuse("intersections of sets")
		default:
			t.copy(1)
		}
	}
	return nil
}
