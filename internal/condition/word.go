package condition

import (
	"strconv"
	"strings"
)

// word is text with substitutions, as between double quotes.
type word []fragment

// fragment is literal text, or a substitution if sub is set.
type fragment struct {
	text string
	sub  *substitution
}

// literal is the word's text if nothing in it depends on the environment.
func (w word) literal() (string, bool) {
	var text strings.Builder
	for _, f := range w {
		if f.sub != nil {
			return "", false
		}
		text.WriteString(f.text)
	}
	return text.String(), true
}

// substitution is $name, ${name} or ${name op arg}. Op is empty, one of
// - + ? (with colon if blank counts as unset) or ":" for a substring, whose
// offset is arg and whose length is limit (nil: to the end).
type substitution struct {
	offset int
	name   string
	op     string
	arg    word
	limit  *word
}

var substOps = [...]string{":-", ":+", ":?", "-", "+", "?", ":"}

// quoted reads a string. Single quotes know the escapes \' and \\ only, and
// no substitution.
func (s *scanner) quoted() (word, error) {
	start, quote := s.offset, s.src[s.offset]
	s.offset++
	var w word
	for s.offset < len(s.src) {
		c := s.src[s.offset]
		if c == quote {
			s.offset++
			return w, nil
		}
		var err error
		if quote == '"' {
			w, err = s.fragment(w)
		} else {
			w = append(w, fragment{text: s.rawChar()})
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, problemAt(start, "the string has no closing %c", quote)
}

func (s *scanner) rawChar() string {
	if next := s.peek(1); s.src[s.offset] == '\\' && (next == '\\' || next == '\'') {
		s.offset++
	}
	s.offset++
	return s.src[s.offset-1 : s.offset]
}

// fragment appends one character, escape or substitution of a double-quoted
// string to w.
func (s *scanner) fragment(w word) (word, error) {
	switch s.src[s.offset] {
	case '\\':
		text, err := s.escape()
		return append(w, fragment{text: text}), err
	case '$':
		return s.dollar(w)
	}
	s.offset++
	return append(w, fragment{text: s.src[s.offset-1 : s.offset]}), nil
}

func (s *scanner) dollar(w word) (word, error) {
	if s.peek(1) == '$' {
		s.offset += 2
		return append(w, fragment{text: "$"}), nil
	}
	sub, err := s.substitution()
	if err != nil {
		return nil, err
	}
	if sub == nil {
		s.offset++
		return append(w, fragment{text: "$"}), nil
	}
	return append(w, fragment{sub: sub}), nil
}

// substitution reads $name or ${…}; nil means that a bare dollar stands here
// and nothing was read.
func (s *scanner) substitution() (*substitution, error) {
	sub := &substitution{offset: s.offset}
	if nameStart(s.peek(1)) {
		s.offset++
		sub.name = s.shellName()
		return sub, nil
	}
	if s.peek(1) != '{' {
		return nil, nil
	}
	if s.depth++; s.depth > maxDepth {
		return nil, problemAt(s.offset, "the expression is nested more than %d deep", maxDepth)
	}
	defer func() { s.depth-- }()
	s.offset += 2
	if !nameStart(s.peek(0)) {
		return nil, problemAt(s.offset, "a variable name must follow `${`")
	}
	sub.name = s.shellName()
	return sub, s.braced(sub)
}

func (s *scanner) shellName() string {
	start := s.offset
	for namePart(s.peek(0)) {
		s.offset++
	}
	return s.src[start:s.offset]
}

// braced reads what follows the name, with the closing brace.
func (s *scanner) braced(sub *substitution) error {
	for _, op := range substOps {
		if strings.HasPrefix(s.src[s.offset:], op) {
			sub.op = op
			s.offset += len(op)
			break
		}
	}
	if sub.op == "" {
		return s.closeBrace(sub)
	}
	stop := "}"
	if sub.op == ":" {
		stop = "}:"
	}
	var err error
	if sub.arg, err = s.argument(stop); err != nil {
		return err
	}
	if s.peek(0) == ':' {
		s.offset++
		limit, err := s.argument("}")
		if err != nil {
			return err
		}
		sub.limit = &limit
	}
	return s.closeBrace(sub)
}

func (s *scanner) closeBrace(sub *substitution) error {
	if s.peek(0) == '}' {
		s.offset++
		return nil
	}
	if s.offset >= len(s.src) {
		return problemAt(sub.offset, "the substitution has no closing `}`")
	}
	return problemAt(s.offset, "`}` or one of `- + ? :` must follow the name in `${%s`", sub.name)
}

// argument reads up to one of the bytes in stop, outside of quotes.
func (s *scanner) argument(stop string) (word, error) {
	var w word
	for s.offset < len(s.src) && strings.IndexByte(stop, s.src[s.offset]) < 0 {
		var err error
		if c := s.src[s.offset]; c == '"' || c == '\'' {
			var inner word
			inner, err = s.quoted()
			w = append(w, inner...)
		} else {
			w, err = s.fragment(w)
		}
		if err != nil {
			return nil, err
		}
	}
	return w, nil
}

var escapes = map[byte]string{
	'n': "\n", 't': "\t", 'r': "\r", 's': " ", 'v': "\v",
	'f': "\f", 'b': "\b", 'a': "\a", 'e': "\x1b",
}

// escape reads a backslash and what it escapes. A character without a meaning
// of its own stands for itself.
func (s *scanner) escape() (string, error) {
	start := s.offset
	s.offset++
	if s.offset == len(s.src) {
		return "", problemAt(start, "nothing follows the backslash")
	}
	c := s.src[s.offset]
	s.offset++
	switch text, ok := escapes[c]; {
	case ok:
		return text, nil
	case c == 'x' && hexDigit(s.peek(0)) && hexDigit(s.peek(1)):
		s.offset += 2
		return s.code(start, 2, 16)
	case '0' <= c && c <= '7':
		for n := 1; n < 3 && '0' <= s.peek(0) && s.peek(0) <= '7'; n++ {
			s.offset++
		}
		return s.code(start, 1, 8)
	}
	return string([]byte{c}), nil
}

// code is the byte whose value is written from skip places after start to here.
func (s *scanner) code(start, skip, base int) (string, error) {
	code, err := strconv.ParseUint(s.src[start+skip:s.offset], base, 8)
	if err != nil {
		return "", problemAt(start, "`%s` is not a character", s.src[start:s.offset])
	}
	return string([]byte{byte(code)}), nil
}

func hexDigit(c byte) bool { return digit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }
