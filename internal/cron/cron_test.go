package cron

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func at(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

func parse(t rapid.TB, line string) Schedule {
	t.Helper()
	s, err := Parse(line, time.LoadLocation)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return s
}

// Times are in UTC; those expected follow one another.
func TestNext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ line, after, want string }{
		{"0 8 * * * America/Vancouver", "2026-11-23 00:00", "2026-11-23 16:00, 2026-11-24 16:00"},
		{"0 8 * * * America/Vancouver", "2026-07-01 00:00", "2026-07-01 15:00"},
		{"0 8 * * * +09:00", "2026-11-23 00:00", "2026-11-23 23:00"},
		{"0 8 * * * -0330", "2026-11-23 00:00", "2026-11-23 11:30"},
		{"0 8 * * *", "2026-11-23 08:00", "2026-11-24 08:00"},
		{"*/15 * * * *", "2026-11-23 08:01", "2026-11-23 08:15, 2026-11-23 08:30, 2026-11-23 08:45, 2026-11-23 09:00"},
		{"5/20 9-10 * * *", "2026-11-23 00:00", "2026-11-23 09:05, 2026-11-23 09:25, 2026-11-23 09:45, 2026-11-23 10:05"},
		{"0 22-2/2 * * *", "2026-11-23 12:00", "2026-11-23 22:00, 2026-11-24 00:00, 2026-11-24 02:00, 2026-11-24 22:00"},
		{"0 0 L * *", "2026-02-10 00:00", "2026-02-28 00:00, 2026-03-31 00:00, 2026-04-30 00:00"},
		{"0 0 last feb *", "2027-03-01 00:00", "2028-02-29 00:00, 2029-02-28 00:00"},
		{"0 0 -2-L * *", "2026-02-10 00:00", "2026-02-27 00:00, 2026-02-28 00:00, 2026-03-30 00:00, 2026-03-31 00:00"},
		{"0 0 1,15 JAN,jul *", "2026-02-01 00:00", "2026-07-01 00:00, 2026-07-15 00:00, 2027-01-01 00:00"},
		{"0 0 * * MON-FRI", "2026-11-27 00:00", "2026-11-30 00:00, 2026-12-01 00:00"},
		{"0 0 * * FRI-MON", "2026-11-23 00:00", "2026-11-27 00:00, 2026-11-28 00:00, 2026-11-29 00:00, 2026-11-30 00:00, 2026-12-04 00:00"},
		{"0 0 * * 7", "2026-11-23 00:00", "2026-11-29 00:00"},
		{"0 0 13 * 5", "2026-11-10 00:00", "2026-11-13 00:00, 2026-11-20 00:00, 2026-11-27 00:00, 2026-12-04 00:00, 2026-12-11 00:00, 2026-12-13 00:00"},
		{"0 9 * * mon#1", "2026-11-10 00:00", "2026-12-07 09:00, 2027-01-04 09:00"},
		{"0 9 * * fri#-1", "2026-11-10 00:00", "2026-11-27 09:00, 2026-12-25 09:00"},
		// Sunday 6 January 2019 is in week 1, 13 January in week 2 (weeks begin on Tuesday).
		{"0 9 * * 0%2", "2019-01-01 00:00", "2019-01-13 09:00, 2019-01-27 09:00"},
		{"0 9 * * sun%2+1", "2019-01-01 00:00", "2019-01-06 09:00, 2019-01-20 09:00"},
		{"0 9 * * 0%3+1", "2019-01-01 00:00", "2019-01-06 09:00, 2019-01-27 09:00"},
		{"0 9 * * 0%3", "2018-12-01 00:00", "2018-12-09 09:00, 2018-12-30 09:00"},
		{"@daily", "2026-11-23 08:00", "2026-11-24 00:00"},
		{"@midnight Europe/Berlin", "2026-11-23 08:00", "2026-11-23 23:00"},
		{"@hourly", "2026-11-23 08:00", "2026-11-23 09:00"},
		{"@weekly", "2026-11-23 08:00", "2026-11-29 00:00"},
		{"@monthly", "2026-11-23 08:00", "2026-12-01 00:00"},
		{"@yearly", "2026-11-23 08:00", "2027-01-01 00:00"},
		{"0 0 29 2 *", "2026-11-23 08:00", "2028-02-29 00:00, 2032-02-29 00:00"},

		// Berlin puts its clocks forward on 29 March 2026 at 01:00 UTC (02:00 becomes 03:00) …
		{"30 2 * * * Europe/Berlin", "2026-03-27 12:00", "2026-03-28 01:30, 2026-03-29 01:00, 2026-03-30 00:30"},
		{"*/20 2 * * * Europe/Berlin", "2026-03-28 12:00", "2026-03-29 01:00, 2026-03-30 00:00"},
		{"0 * * * * Europe/Berlin", "2026-03-28 23:30", "2026-03-29 00:00, 2026-03-29 01:00, 2026-03-29 02:00"},
		// … and back on 25 October 2026 at 01:00 UTC (03:00 becomes 02:00).
		{"30 2 * * * Europe/Berlin", "2026-10-24 12:00", "2026-10-25 00:30, 2026-10-26 01:30"},
		{"30 * * * * Europe/Berlin", "2026-10-25 00:00", "2026-10-25 00:30, 2026-10-25 01:30, 2026-10-25 02:30"},
		// Lord Howe moves by half an hour, Samoa left a whole day out, Beirut changes at midnight.
		{"15 2 * * * Australia/Lord_Howe", "2026-10-02 12:00", "2026-10-02 15:45, 2026-10-03 15:30, 2026-10-04 15:15"},
		{"0 0 * * * Asia/Beirut", "2026-03-27 00:00", "2026-03-27 22:00, 2026-03-28 22:00, 2026-03-29 21:00"},
	} {
		s, now := parse(t, c.line), at(c.after)
		for want := range strings.SplitSeq(c.want, ", ") {
			next := s.Next(now)
			if !next.Equal(at(want)) {
				t.Errorf("%s behind %s: %s, want %s", c.line, now.Format("2006-01-02 15:04"), next.Format("2006-01-02 15:04"), want)
				break
			}
			now = next
		}
	}
}

// Every day has one time in every zone that ever moved, whatever the clocks do.
func TestOnceADayIsOnceADay(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Beirut", "Africa/Cairo", "America/St_Johns"} {
		for _, clock := range []string{"30 0", "0 0", "15 1", "30 2", "59 23"} {
			s := parse(t, clock+" * * * "+zone)
			now, n := at("2014-12-31 12:00"), 0
			for now.Before(at("2025-12-31 12:00")) {
				next := s.Next(now)
				if gap := next.Sub(now); n > 0 && (gap < 22*time.Hour || gap > 26*time.Hour) {
					t.Fatalf("%s %s: %s is followed by %s", zone, clock, now, next)
				}
				now = next
				n++
			}
			const days = 4018 // from 1 January 2015 to 31 December 2025; the ends depend on the zone
			if n < days-1 || n > days+1 {
				t.Errorf("%s %s: %d times", zone, clock, n)
			}
		}
	}
}

func TestLinesThatAreRefused(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"":                         "five fields",
		"* * * *":                  "has 4 words",
		"0 8 * * * UTC UTC":        "has 7 words",
		"*/5 * * * *":              "every 5 minutes; the shortest interval is 10 minutes",
		"* * * * *":                "every 1 minutes",
		"0,5 8 * * *":              "every 5 minutes",
		"55,0 * * * *":             "every 5 minutes",
		"0~30 8 * * *":             "random times (~)",
		"~ 8 * * *":                "random times (~)",
		"60 8 * * *":               `"60" is not a minute: numbers from 0 to 59`,
		"-1 8 * * *":               "is not a minute",
		"0 24 * * *":               "is not a hour",
		"0 8 0 * *":                "is not a day of the month",
		"0 8 32 * *":               "is not a day of the month",
		"0 8 L-2 * *":              "",
		"0 8 5-L * *":              "counts from the begin or from the end",
		"0 8 * 13 *":               "is not a month",
		"0 8 * foo *":              "jan feb",
		"0 8 * * 8":                "is not a day of the week",
		"0 8 * * 0%0":              "every how many weeks",
		"0 8 * * 0%2+x":            "every how many weeks",
		"0 8 * * 0#6":              "which one of the month",
		"0 8 30 2 *":               "never comes",
		"0 8 31 4,6 *":             "never comes",
		"0/0 8 * * *":              "the step behind /",
		"0 8 * * * Mars/Olympus":   "is not a time zone",
		"0 8 * * * ../etc/passwd":  "is not a time zone",
		"0 8 * * * Local":          "is not a time zone",
		"0 8 * * * +9":             "offset from UTC",
		"@reboot":                  "@reboot is not known; use @hourly",
		"@every 5m":                "is not known",
		strings.Repeat("0,", 1000): "longer than 500 bytes",
	} {
		if s, err := Parse(line, time.LoadLocation); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %+v, %v; want an error with %q", line, s, err, want)
		}
	}
}

// naive says whether a minute matches, from nothing but what a clock and a calendar show.
func naive(fields [5]func(int, time.Time) bool, dayAny, weekdayAny bool, local time.Time) bool {
	dom, dow := fields[2](local.Day(), local), fields[4](int(local.Weekday()), local)
	day := dom && dow
	if !dayAny && !weekdayAny {
		day = dom || dow
	}
	return fields[0](local.Minute(), local) && fields[1](local.Hour(), local) && fields[3](int(local.Month()), local) && day
}

// TestAgainstEveryMinute holds Next against a walk over every minute in a zone without clock changes.
func TestAgainstEveryMinute(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		pick := func(name string, low, high int) (string, func(int, time.Time) bool) {
			switch rapid.IntRange(0, 3).Draw(rt, name) {
			case 0:
				return "*", func(int, time.Time) bool { return true }
			case 1:
				a := rapid.IntRange(low, high).Draw(rt, name+" value")
				return itoa(a), func(v int, _ time.Time) bool { return v == a }
			case 2:
				a := rapid.IntRange(low, high).Draw(rt, name+" from")
				b := rapid.IntRange(a, high).Draw(rt, name+" to")
				step := rapid.IntRange(1, high).Draw(rt, name+" step")
				return itoa(a) + "-" + itoa(b) + "/" + itoa(step), func(v int, _ time.Time) bool { return v >= a && v <= b && (v-a)%step == 0 }
			}
			a, b := rapid.IntRange(low, high).Draw(rt, name+" one"), rapid.IntRange(low, high).Draw(rt, name+" two")
			return itoa(a) + "," + itoa(b), func(v int, _ time.Time) bool { return v == a || v == b }
		}
		var words [6]string
		var fields [5]func(int, time.Time) bool
		for i, r := range [][2]int{{0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 6}} {
			words[i], fields[i] = pick([]string{"minute", "hour", "day", "month", "weekday"}[i], r[0], r[1])
		}
		words[5] = rapid.SampledFrom([]string{"UTC", "+05:45", "-03:30"}).Draw(rt, "zone")
		line := strings.Join(words[:], " ")
		s, err := Parse(line, time.LoadLocation)
		if err != nil {
			return // too often, or never
		}
		after := at("2026-01-01 00:00").Add(time.Duration(rapid.IntRange(0, 700*24*60).Draw(rt, "after")) * time.Minute)
		got := s.Next(after)
		limit := after.Add(40 * 24 * time.Hour)
		for now := after.Add(time.Minute); now.Before(limit); now = now.Add(time.Minute) {
			if naive(fields, words[2] == "*", words[4] == "*", now.In(s.zone)) {
				if !got.Equal(now) {
					rt.Fatalf("%s behind %s: %s, want %s", line, after, got, now)
				}
				return
			}
		}
		if got.Before(limit) {
			rt.Fatalf("%s behind %s: %s, which does not match", line, after, got)
		}
	})
}

func itoa(n int) string { return strconv.Itoa(n) }

// FuzzParse: any text is refused or comes, later than asked, at a whole minute, at intervals.
func FuzzParse(f *testing.F) {
	for _, line := range []string{"0 8 * * * America/Vancouver", "*/15 9-17 L,-3 1-6/2 mon#1,0%3+1", "@daily", "5/20 22-2 * * fri-mon +09:00", "~ * * * *"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		s, err := Parse(line, time.LoadLocation)
		if err != nil {
			return
		}
		now := at("2026-11-23 12:34")
		for range 3 {
			next := s.Next(now)
			if next.IsZero() {
				return
			}
			if !next.After(now) || next.Second() != 0 {
				t.Fatalf("%q: %s behind %s", line, next, now)
			}
			now = next
		}
	})
}
