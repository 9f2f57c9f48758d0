// Package lines turns the raw bytes of a job's log into numbered lines, in memory bounded whatever the log holds.
//
// A line is a row that has scrolled out of a terminal screen: carriage returns and cursor movement overwrite what a row
// showed, and the row keeps its last form. The screen holds at most ScreenRows rows and ScreenBytes bytes of input;
// cursor movement cannot leave it. Rows end at a line feed only; for counting cursor movement up and down, a row
// is as many screen rows as it needs at 160 columns, the width of the agent's terminal.
//
// Ordering: rows are numbered from 0 as they first appear and never change their number. A row may change its content
// until it has settled, that is, scrolled out; rows settle in order.
//
// Rows that cursor movement has tied together form a block. Nothing before a block's first byte matters to it but the
// colours in force, so a block renders the same wherever reading began: a Checkpoint is the start of a settled block
// with those colours. To keep blocks short, a block that was redrawn is cut after RedrawBytes and a plain row after
// RowBytes, as if the screen had scrolled out; an escape sequence ends at the end of its row; a hyperlink too; and
// clearing the whole screen starts a new row, so that it erases no earlier output.
//
// The agent's line "^^^ +++" is for the reader's eye only as the open group before it: it has no row, and its bytes are the first
// of the row that follows.
//
// No input makes the package fail: malformed sequences are shown or dropped.
package lines

// Limits, in rows and bytes of raw log.
const (
	ScreenRows  = 100
	ScreenBytes = 256 << 10
	RedrawBytes = 256 << 10
	RowBytes    = 1 << 20

	// CheckpointRows and CheckpointBytes are the least distances between two checkpoints; whichever is reached first.
	CheckpointRows  = 2000
	CheckpointBytes = 1 << 20

	// MaxText is how much of a line's text is rendered, in bytes.
	MaxText = 4096
)

// columns is the width of the terminal that buildkite-agent v3.138.1 gives a job (process/pty.go).
const columns = 160

// Kind says what a line is to a reader of the log.
type Kind uint8

// The header kinds are the line prefixes documented at https://buildkite.com/docs/pipelines/configure/managing-log-output.
const (
	Normal     Kind = iota
	Collapsed       // "--- text" starts a group that is shown closed
	Expanded        // "+++ text" starts a group that is shown open
	Muted           // "~~~ text" starts a closed group of lesser importance
	OpenBefore      // "^^^ +++" opens the group before it; a line only where it was redrawn or comes by the hundred
	Error           // matches one of the error patterns
)

// Header reports whether a line of this kind starts a group.
func (k Kind) Header() bool { return k == Collapsed || k == Expanded || k == Muted }

// Row describes a row before rendering. Rows of one block are contiguous and have the same Block.
type Row struct {
	Line  int64 // counted from 0
	Block int64 // the Line of the block's first row
	Start int64 // offset of the first byte; only the block's first row tells where to begin reading
	Time  int64 // Unix milliseconds of the last marker before the row's text; 0 if there was none
	Style Style // colours in force at Start
	Text  int   // bytes of text written to the row, overwritten ones too
	Width int   // columns
	Kind  Kind
	Name  string // of a header, at most 256 bytes
	Opens bool   // "^^^ +++" stood before it, which is no row of its own

	blockStart int64
	clock      int64 // Time before any marker of its own
	redrawn    bool
}

// Checkpoint is a place where reading may begin.
type Checkpoint struct {
	Line, Offset int64
	Time         int64 // Unix milliseconds of the last marker before it; 0 if there was none
	Style        Style
}

// Line is a rendered line.
type Line struct {
	Number int64  // counted from 0
	Time   int64  // Unix milliseconds; 0 if the agent wrote no time stamps
	HTML   string // escaped; holds only span and a elements with class, href and rel
	Text   string // without escape sequences
	Kind   Kind
	Length int // of the whole text in bytes; more than len(Text) if Cut
	Cut    bool

	// Start and End delimit the raw bytes of the line's block in the log.
	Start, End int64
}
