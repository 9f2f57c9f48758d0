package condition

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error is the refusal of an expression. Line and Column count from 1, Column
// in characters within its line.
type Error struct {
	Line    int
	Column  int
	Message string
}

// Error gives the line only where the expression has several.
func (e *Error) Error() string {
	if e.Line > 1 {
		return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
	}
	return fmt.Sprintf("column %d: %s", e.Column, e.Message)
}

// problem is an Error before its byte offset is turned into line and column.
type problem struct {
	offset  int
	message string
}

func (p *problem) Error() string { return p.message }

func problemAt(offset int, format string, args ...any) *problem {
	return &problem{offset, fmt.Sprintf(format, args...)}
}

func (p *problem) in(src string) *Error {
	before := src[:min(p.offset, len(src))]
	line := 1 + strings.Count(before, "\n")
	start := strings.LastIndexByte(before, '\n') + 1
	return &Error{line, 1 + utf8.RuneCountInString(before[start:]), p.message}
}
