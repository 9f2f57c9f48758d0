package shell

import (
	"fmt"
	"io"
	"strings"

	"github.com/slipway-ci/slipway/internal/agent/redact"
)

// Log is where a job's output goes: what its processes print, and what the
// agent says about its phases. The formats of the latter (group headers, grey
// comments, the prompt) are those of buildkite-agent v3.138,
// internal/shell/logger.go, because people and tools know them.
//
// A failure to write is not reported here: the writer behind the log counts
// what it could not deliver, and a job does not fail for its log.
type Log struct {
	out *redact.Writer
}

// NewLog returns a log whose secrets are replaced before they reach out.
func NewLog(out io.Writer) *Log { return &Log{out: redact.NewWriter(out)} }

// Write logs raw output.
func (l *Log) Write(p []byte) (int, error) { return l.out.Write(p) }

// Redact hides the values from now on.
func (l *Log) Redact(values ...string) { l.out.Add(values...) }

// Flush releases what might have been the beginning of a secret.
func (l *Log) Flush() error { return l.out.Flush() }

// Printf logs a line.
func (l *Log) Printf(format string, args ...any) {
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\r\n") + "\r\n"
	if l.Flush() == nil {
		io.WriteString(l, text) //nolint:errcheck // see the type's comment
	}
}

// Header starts a group that is collapsed unless it fails.
func (l *Log) Header(format string, args ...any) { l.Printf("~~~ "+format, args...) }

// Comment logs a remark of the agent.
func (l *Log) Comment(format string, args ...any) { l.Printf("\x1b[90m# "+format+"\x1b[0m", args...) }

// Prompt shows a command that is about to run.
func (l *Log) Prompt(format string, args ...any) { l.Printf("\x1b[90m$\x1b[0m "+format, args...) }

// Warning logs what does not stop the job, and opens its group.
func (l *Log) Warning(format string, args ...any) {
	l.Printf("\x1b[33m⚠️ Warning: "+format+"\x1b[0m\n^^^ +++", args...)
}

// Error logs what ends the job, and opens its group.
func (l *Log) Error(format string, args ...any) {
	l.Printf("\x1b[31m🚨 Error: "+format+"\x1b[0m\n^^^ +++", args...)
}
