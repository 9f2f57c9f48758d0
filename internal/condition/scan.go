package condition

import (
	"strings"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenName
	tokenInteger
	tokenWord   // a quoted string
	tokenSubst  // $NAME or ${…} outside quotes
	tokenRegexp // /…/
	tokenPunct  // operators and brackets
)

type token struct {
	kind   tokenKind
	offset int
	text   string // as written
	word   word
	node   node
}

func (t token) String() string {
	if t.kind == tokenEnd {
		return "the end of the expression"
	}
	return "`" + t.text + "`"
}

func (t token) is(punct string) bool { return t.kind == tokenPunct && t.text == punct }

// puncts lists longer operators before those they begin with.
var puncts = [...]string{"==", "!=", "=~", "!~", "&&", "||", "!", "?", ":", "(", ")", "[", "]", ","}

// instead says what a person who wrote one of these probably meant.
var instead = map[byte]string{'=': "==", '&': "&&", '|': "||", '@': "includes"}

type scanner struct {
	src    string
	offset int
	depth  int // of ${…} within ${…}
}

func (s *scanner) next() (token, error) {
	s.skipBlank()
	start := s.offset
	t, err := s.scan()
	t.offset = start
	t.text = s.src[start:s.offset]
	return t, err
}

func (s *scanner) skipBlank() {
	for s.offset < len(s.src) {
		rest := s.src[s.offset:]
		switch {
		case strings.ContainsRune(" \t\r\n", rune(rest[0])):
			s.offset++
		case strings.HasPrefix(rest, "//"):
			end := strings.IndexByte(rest, '\n')
			if end < 0 {
				end = len(rest)
			}
			s.offset += end
		default:
			return
		}
	}
}

func (s *scanner) scan() (token, error) {
	if s.offset == len(s.src) {
		return token{kind: tokenEnd}, nil
	}
	switch c := s.src[s.offset]; {
	case nameStart(c):
		return s.name()
	case digit(c):
		for s.offset < len(s.src) && digit(s.src[s.offset]) {
			s.offset++
		}
		return token{kind: tokenInteger}, nil
	case c == '\'' || c == '"':
		w, err := s.quoted()
		return token{kind: tokenWord, word: w}, err
	case c == '$':
		return s.bareSubstitution()
	case c == '/':
		re, err := s.regexp()
		return token{kind: tokenRegexp, node: re}, err
	}
	return s.punct()
}

func (s *scanner) name() (token, error) {
	for {
		for s.offset < len(s.src) && namePart(s.src[s.offset]) {
			s.offset++
		}
		if s.peek(0) != '.' {
			return token{kind: tokenName}, nil
		}
		if !nameStart(s.peek(1)) {
			return token{}, problemAt(s.offset+1, "a name must follow the dot")
		}
		s.offset++
	}
}

func (s *scanner) punct() (token, error) {
	rest := s.src[s.offset:]
	for _, p := range puncts {
		if strings.HasPrefix(rest, p) {
			s.offset += len(p)
			return token{kind: tokenPunct}, nil
		}
	}
	if meant, ok := instead[rest[0]]; ok {
		return token{}, problemAt(s.offset, "`%c` is not an operator, perhaps you meant `%s`?", rest[0], meant)
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return token{}, problemAt(s.offset, "unexpected character %q", r)
}

// bareSubstitution reads $NAME or ${…} where an operand stands.
func (s *scanner) bareSubstitution() (token, error) {
	start := s.offset
	sub, err := s.substitution()
	if err != nil {
		return token{}, err
	}
	if sub == nil {
		return token{}, problemAt(start, "`$` must be followed by a name or `{`")
	}
	return token{kind: tokenSubst, node: sub}, nil
}

// regexp reads /…/ and its flags. A slash inside is written `\/`.
func (s *scanner) regexp() (node, error) {
	start := s.offset
	for s.offset++; s.peek(0) != '/'; s.offset++ {
		if s.peek(0) == '\\' {
			s.offset++
		}
		if s.offset >= len(s.src) || s.src[s.offset] == '\n' {
			s.offset = min(s.offset, len(s.src))
			return nil, problemAt(start, "the regular expression has no closing `/`")
		}
	}
	pattern := s.src[start+1 : s.offset]
	s.offset++
	fold := false
	for ; namePart(s.peek(0)); s.offset++ {
		if s.peek(0) != 'i' || fold {
			return nil, problemAt(s.offset, "`%c` is not a regular expression flag, the only flag is `i`", s.peek(0))
		}
		fold = true
	}
	re, err := compileRegexp(pattern, fold, start+1)
	if err != nil {
		return nil, err
	}
	return &regexpLit{start, re}, nil
}

// peek is the byte n places ahead, or 0 beyond the end.
func (s *scanner) peek(n int) byte {
	if s.offset+n >= len(s.src) {
		return 0
	}
	return s.src[s.offset+n]
}

func digit(c byte) bool     { return '0' <= c && c <= '9' }
func nameStart(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }
func namePart(c byte) bool  { return nameStart(c) || digit(c) }
