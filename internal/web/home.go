package web

import "time"

// HomePage is an organization's home: what needs a person, how every pipeline
// is, and the fleet.
type HomePage struct {
	Frame
	Needs     []Need
	Pipelines []PipelineRow
	Mine      []BuildRow
	Queues    []QueueRow
	Filter    string // of the pipelines, by name
	CanCreate bool   // show New pipeline
}

// Need is something that waits for a person.
type Need struct {
	State  State
	What   string // "test #4831"
	Doing  string // "waits for approval"
	Detail string
	Since  time.Time
	Href   string
	Action string // the button's words
}

// PipelineRow is one pipeline in the list. Figures without enough builds
// behind them are zero and are left out.
type PipelineRow struct {
	Slug, Name  string
	Description string
	State       State // of the newest finished build of the default branch
	Recent      []Bar // of the default branch, oldest first
	PassRate    float64
	Median      time.Duration
	Change      time.Duration // of the median, against the week before
	Wait        time.Duration // median
	WaitP95     time.Duration
	Active      []Tally // what happens now
	Href        string
}

// Rate is the share of passes as a percentage, empty without a finished build.
func (r PipelineRow) Rate() string {
	if r.PassRate < 0 || len(r.Recent) == 0 {
		return ""
	}
	return percent(r.PassRate)
}

// Delta is the change of the median in words.
func (r PipelineRow) Delta() Change { return changeOf(r.Change) }

// Change is a difference in words, and whether it is for the worse.
type Change struct{ Text, Class string }

func changeOf(d time.Duration) Change {
	switch {
	case d >= time.Second:
		return Change{"+" + ago(d), "delta-up"}
	case d <= -time.Second:
		return Change{"\u2212" + ago(-d), "delta-dn"}
	}
	return Change{"no change", ""}
}

// QueueRow is one queue's agents and who waits for them.
type QueueRow struct {
	Name    string
	Busy    int
	Agents  int
	Waiting int
}

// Text is the row in words: "6 of 8, 1 waits".
func (q QueueRow) Text() string {
	s := count(q.Busy) + " of " + count(q.Agents)
	switch {
	case q.Agents == 0:
		s = "no agents"
	}
	switch {
	case q.Waiting == 1:
		s += ", 1 waits"
	case q.Waiting > 1:
		s += ", " + count(q.Waiting) + " wait"
	}
	return s
}
