package cron

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// field is what may stand in one place of a line.
type field struct {
	name     string
	min, max int
	names    []string // of min and those behind it
	last     bool     // days from the end of the month are known
}

var (
	minute   = field{name: "minute", max: 59}
	hour     = field{name: "hour", max: 23}
	monthday = field{name: "day of the month", min: 1, max: 31, last: true}
	month    = field{name: "month", min: 1, max: 12, names: strings.Fields("jan feb mar apr may jun jul aug sep oct nov dec")}
	day      = field{name: "day of the week", max: 7, names: strings.Fields("sun mon tue wed thu fri sat")}
)

func (f field) wrong(text, format string, args ...any) error {
	return fmt.Errorf("%q is not a %s: "+format, append([]any{text, f.name}, args...)...)
}

// parse reads a list of ranges.
func (f field) parse(text string) ([]int, error) {
	var out []int
	for _, part := range strings.Split(text, ",") {
		values, err := f.part(part)
		if err != nil {
			return nil, err
		}
		out = append(out, values...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// part reads one value, a range or a star, with or without a step.
func (f field) part(text string) ([]int, error) {
	if strings.Contains(text, "~") {
		return nil, f.wrong(text, "random times (~) are not supported; name one")
	}
	span, stepText, stepped := strings.Cut(text, "/")
	step := 1
	if stepped {
		n, err := strconv.Atoi(stepText)
		if err != nil || n < 1 || n > f.max {
			return nil, f.wrong(text, "the step behind / is a number from 1 to %d", f.max)
		}
		step = n
	}
	from, to, err := f.span(span, stepped)
	if err != nil {
		return nil, err
	}
	var out []int
	if from > to && from > 0 { // over the end: 22-2
		size := f.max - f.min + 1
		for v := from; v <= to+size; v += step {
			out = append(out, f.min+(v-f.min)%size)
		}
		return out, nil
	}
	for v := from; v <= to; v += step {
		if v != 0 || !f.last {
			out = append(out, v)
		}
	}
	return out, nil
}

// span reads what stands before a step.
func (f field) span(text string, stepped bool) (from, to int, err error) {
	if text == "*" {
		return f.min, f.max, nil
	}
	first, second, isRange := cutRange(text)
	if from, err = f.value(first); err != nil {
		return 0, 0, err
	}
	if !isRange {
		if stepped { // 5/15: from 5 on
			return from, f.max, nil
		}
		return from, from, nil
	}
	if to, err = f.value(second); err != nil {
		return 0, 0, err
	}
	if from < 0 && to > 0 || from > 0 && to < 0 || from < 0 && from > to {
		return 0, 0, f.wrong(text, "a range counts from the begin or from the end of the month, and forward")
	}
	return from, to, nil
}

// cutRange divides a range at the dash that is no sign.
func cutRange(text string) (first, second string, ok bool) {
	i := strings.IndexByte(text[min(1, len(text)):], '-')
	if i < 0 {
		return text, "", false
	}
	return text[:i+1], text[i+2:], true
}

func (f field) value(text string) (int, error) {
	lower := strings.ToLower(text)
	if f.last && (lower == "l" || lower == "last") {
		return -1, nil
	}
	if i := slices.Index(f.names, lower); i >= 0 {
		return f.min + i, nil
	}
	n, err := strconv.Atoi(text)
	low := f.min
	if f.last {
		low = -f.max
	}
	if err != nil || n < low || n > f.max || n == 0 && f.last || len(text) > 3 {
		return 0, f.wrong(text, "%s", f.allowed())
	}
	return n, nil
}

func (f field) allowed() string {
	s := fmt.Sprintf("numbers from %d to %d are allowed", f.min, f.max)
	if f.names != nil {
		s += ", and " + strings.Join(f.names, " ")
	}
	if f.last {
		s += ", L for the last day and -2 for the one before"
	}
	return s
}

// weekdays reads the last field; nil is any day.
func weekdays(text string) ([]weekday, error) {
	if text == "*" {
		return nil, nil
	}
	var out []weekday
	for _, part := range strings.Split(text, ",") {
		some, err := weekdayPart(part)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	return out, nil
}

func weekdayPart(text string) ([]weekday, error) {
	span, rule, cut := text, "", strings.IndexAny(text, "%#")
	if cut >= 0 {
		span, rule = text[:cut], text[cut:]
	}
	w, err := weekRule(text, rule)
	if err != nil {
		return nil, err
	}
	of := day
	if strings.HasPrefix(span, "*") {
		of.max = 6
	}
	days, err := of.part(span)
	if err != nil {
		return nil, err
	}
	var out []weekday
	for _, d := range days {
		w.day = d % 7
		out = append(out, w)
	}
	return out, nil
}

// weekRule reads what says in which weeks a day counts: %2, %2+1, #1, #-1.
func weekRule(text, rule string) (weekday, error) {
	var w weekday
	var err error
	switch {
	case strings.HasPrefix(rule, "%"):
		modulo, offset, plus := strings.Cut(rule[1:], "+")
		if w.modulo, err = strconv.Atoi(modulo); err == nil && plus {
			w.offset, err = strconv.Atoi(offset)
		}
		if err != nil || w.modulo < 1 || w.modulo > 100 || w.offset < 0 || w.offset > 100 {
			return w, day.wrong(text, "behind %% stands every how many weeks, 1 to 100, and behind + which of them")
		}
	case strings.HasPrefix(rule, "#"):
		w.nth, err = strconv.Atoi(rule[1:])
		if err != nil || w.nth == 0 || w.nth < -5 || w.nth > 5 {
			return w, day.wrong(text, "behind # stands which one of the month, 1 to 5, or -1 for the last")
		}
	}
	return w, nil
}

// location reads a zone: a name, or an offset from UTC such as +09:00.
func location(text string, zone func(string) (*time.Location, error)) (*time.Location, error) {
	if strings.HasPrefix(text, "+") || strings.HasPrefix(text, "-") {
		for _, layout := range []string{"-07:00", "-0700"} {
			if t, err := time.Parse(layout, text); err == nil {
				_, seconds := t.Zone()
				return time.FixedZone(text, seconds), nil
			}
		}
		return nil, fmt.Errorf("%q is not an offset from UTC, as +09:00 is", text)
	}
	switch strings.ToUpper(text) {
	case "Z", "UTC":
		return time.UTC, nil
	case "LOCAL":
		return nil, fmt.Errorf("%q is not a time zone; name one, as America/Vancouver", text)
	}
	l, err := zone(text)
	if err != nil {
		return nil, fmt.Errorf("%.60q is not a time zone; name one, as America/Vancouver", text)
	}
	return l, nil
}
