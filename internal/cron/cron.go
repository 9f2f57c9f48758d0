// Package cron reads the times at which schedules make builds, and says when the next one is.
//
// A cron line has five fields (minute, hour, day of the month, month, day of the week) and may end in a
// time zone, a name or an offset; without one it is in UTC. Fields are numbers, names, ranges, lists and
// steps. Beyond POSIX there are `L` or `last` and negative numbers for days from the end of the month,
// `0%2` and `0%2+1` for every other week, `mon#1` for the first Monday, and @daily and its like
// (https://buildkite.com/docs/pipelines/configure/workflows/scheduled-builds, and Fugit, which reads them
// there: https://github.com/floraison/fugit).
//
// Where a day of the month and a day of the week are both given, either is enough, as POSIX says.
//
// When the clocks change: a time that is skipped comes at the end of what is skipped, one that there is
// twice comes the first time only; lines that name no hour follow the real hours. So what runs once a day
// runs once that day too.
//
// The package is pure: it has no clock, and whoever calls Parse finds the zones.
package cron

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MinInterval is the shortest time between two builds of one schedule.
const MinInterval = 10 * time.Minute

// maxLine is the longest line that is read, in bytes.
const maxLine = 500

// Schedule is a line that was read. It is immutable.
type Schedule struct {
	minutes, hours, months []int
	everyHour              bool
	days                   []int // of the month; negative: from its end, -1 the last; nil: any
	weekdays               []weekday
	zone                   *time.Location
}

// weekday is a day of the week, in some weeks only.
type weekday struct {
	day    int // 0 is Sunday
	modulo int // 0: every week
	offset int
	nth    int // 0: any; 1: the first of the month, -1: the last
}

// aliases are lines by name.
var aliases = map[string]string{
	"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
	"@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}

// Parse reads a line. zone finds a time zone by its name, as time.LoadLocation does. A line that would
// come more often than MinInterval, or never, is refused.
func Parse(line string, zone func(name string) (*time.Location, error)) (Schedule, error) {
	if len(line) > maxLine {
		return Schedule{}, fmt.Errorf("the line is longer than %d bytes", maxLine)
	}
	words := strings.Fields(line)
	if len(words) > 0 && strings.HasPrefix(words[0], "@") {
		alias, ok := aliases[strings.ToLower(words[0])]
		if !ok {
			return Schedule{}, fmt.Errorf("%s is not known; use @hourly, @daily, @midnight, @weekly, @monthly or @yearly", words[0])
		}
		words = append(strings.Fields(alias), words[1:]...)
	}
	if len(words) != 5 && len(words) != 6 {
		return Schedule{}, fmt.Errorf("a schedule has five fields (minute, hour, day of the month, month, day of the week) and may have a time zone behind them; this one has %d words", len(words))
	}
	s := Schedule{zone: time.UTC}
	var err error
	if len(words) == 6 {
		if s.zone, err = location(words[5], zone); err != nil {
			return Schedule{}, err
		}
	}
	if err := s.fields(words); err != nil {
		return Schedule{}, err
	}
	return s, s.check()
}

func (s *Schedule) fields(words []string) error {
	var err error
	for i, f := range []struct {
		field
		into *[]int
	}{{minute, &s.minutes}, {hour, &s.hours}, {monthday, &s.days}, {month, &s.months}} {
		if *f.into, err = f.parse(words[i]); err != nil {
			return err
		}
	}
	if words[2] == "*" {
		s.days = nil
	}
	s.everyHour = words[1] == "*"
	s.weekdays, err = weekdays(words[4])
	return err
}

// check refuses a line that comes too often or never.
func (s Schedule) check() error {
	var times []int // minutes of a day
	for _, h := range s.hours {
		for _, m := range s.minutes {
			times = append(times, h*60+m)
		}
	}
	for i, t := range times {
		next := times[0] + 24*60
		if i+1 < len(times) {
			next = times[i+1]
		}
		if gap := time.Duration(next-t) * time.Minute; gap < MinInterval {
			return fmt.Errorf("the schedule would come every %d minutes; the shortest interval is %d minutes", gap/time.Minute, MinInterval/time.Minute)
		}
	}
	if s.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return errors.New("the schedule never comes: no month has such a day")
	}
	return nil
}

// horizon is how many days ahead a next time is looked for. The rarest days are those that are 28 years
// apart, and no leap year may be among three hundred.
const horizon = 41 * 366

// Next is the first time behind another, in UTC; zero if there is none.
func (s Schedule) Next(after time.Time) time.Time {
	local := after.In(s.zone)
	// The day before too: where clocks go back at midnight, its times come after the new day's first.
	day := time.Date(local.Year(), local.Month(), local.Day()-1, 12, 0, 0, 0, time.UTC)
	for range horizon {
		if s.matches(day) {
			for _, t := range s.times(day) {
				if t.After(after) {
					return t
				}
			}
		}
		day = day.AddDate(0, 0, 1)
	}
	return time.Time{}
}

// matches says whether the schedule comes on a day, given as its noon in UTC.
func (s Schedule) matches(day time.Time) bool {
	if !slices.Contains(s.months, int(day.Month())) {
		return false
	}
	if s.days == nil && s.weekdays == nil {
		return true
	}
	return s.days != nil && s.onMonthday(day) || s.weekdays != nil && s.onWeekday(day)
}

func (s Schedule) onMonthday(day time.Time) bool {
	last := daysIn(day)
	return slices.ContainsFunc(s.days, func(d int) bool {
		if d < 0 {
			d += last + 1
		}
		return d == day.Day()
	})
}

func daysIn(day time.Time) int {
	return time.Date(day.Year(), day.Month()+1, 0, 12, 0, 0, 0, time.UTC).Day()
}

func (s Schedule) onWeekday(day time.Time) bool {
	return slices.ContainsFunc(s.weekdays, func(w weekday) bool {
		if w.day != int(day.Weekday()) {
			return false
		}
		if w.modulo != 0 {
			week := weekNumber(day)
			return ((week-w.offset)%w.modulo+w.modulo)%w.modulo == 0
		}
		first, last := (day.Day()+6)/7, -((daysIn(day)-day.Day())/7 + 1)
		return w.nth == 0 || w.nth == first || w.nth == last
	})
}

// weekNumber counts weeks from the one that begins on Tuesday, 1 January 2019, which is week 1
// (et-orbi 1.2, EoTime#rweek).
func weekNumber(day time.Time) int {
	days := int(day.Sub(time.Date(2019, 1, 1, 12, 0, 0, 0, time.UTC)).Hours() / 24)
	week := days / 7
	if days%7 < 0 {
		week--
	}
	return week + 1
}

// times are the times of a day that the schedule comes on, in order.
func (s Schedule) times(day time.Time) []time.Time {
	var all []time.Time
	for _, h := range s.hours {
		for _, m := range s.minutes {
			wall := time.Date(day.Year(), day.Month(), day.Day(), h, m, 0, 0, time.UTC)
			all = append(all, s.instants(wall)...)
		}
	}
	slices.SortFunc(all, time.Time.Compare)
	return all
}

// instants are when a clock on the wall shows a time: once, twice when it is put back, never when it is
// put forward. wall is what it shows, as if it were UTC.
func (s Schedule) instants(wall time.Time) []time.Time {
	before, after := wall.Add(-s.offset(wall.Add(-24*time.Hour))), wall.Add(-s.offset(wall.Add(24*time.Hour)))
	var out []time.Time
	for _, t := range []time.Time{before, after} {
		if s.shows(t, wall) && !slices.ContainsFunc(out, t.Equal) {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, time.Time.Compare)
	switch {
	case s.everyHour:
		return out
	case len(out) == 0:
		end, _ := before.In(s.zone).ZoneBounds()
		return []time.Time{end.UTC()}
	}
	return out[:1]
}

// offset is that of the zone at a time.
func (s Schedule) offset(t time.Time) time.Duration {
	_, seconds := t.In(s.zone).Zone()
	return time.Duration(seconds) * time.Second
}

func (s Schedule) shows(t, wall time.Time) bool {
	return t.Add(s.offset(t)).Equal(wall)
}
