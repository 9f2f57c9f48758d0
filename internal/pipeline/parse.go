package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	gopipeline "github.com/buildkite/go-pipeline"
	"github.com/buildkite/go-pipeline/ordered"
	"github.com/buildkite/go-pipeline/warning"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Bounds within which the positioned parser, whose time is quadratic in some shapes, is used. A
// document beyond them has no positions, and its duplicate keys go unnoticed: the last one counts.
const (
	maxPlacedBytes = 512 << 10
	maxPlacedLines = 10_000
)

// MaxSource is the size in bytes above which a document is refused unread.
const MaxSource = 16 << 20

// Document is a parsed pipeline document. It is used by one goroutine at a time.
type Document struct {
	file   string
	source *gopipeline.Pipeline // nil: the document is as an agent sent it
	tree   *tree                // nil: the document has no positions
	root   value
	// unplaced says that a person's document has no positions, which a warning tells.
	unplaced bool
}

// Parse reads YAML or JSON that a person wrote. File names it in messages. Errors are *Error:
// syntax errors, duplicate keys, excessive or endless aliases, several documents in one source.
func Parse(src []byte, file string) (*Document, error) {
	found := &problems{file: file}
	if len(src) > MaxSource {
		found.add(Position{}, "the document is larger than %d MiB", MaxSource>>20)
		return nil, found.err()
	}
	meaning, meaningErr := readMeaning(src)
	d := &Document{file: file, source: meaning}
	d.tree = readPlaces(src, meaningErr, found)
	d.unplaced = d.tree == nil
	if err := found.err(); err != nil {
		return nil, err
	}
	restoreCommands(meaning.Steps, d.stepPlaces())
	if err := d.normalise(found); err != nil {
		return nil, err
	}
	return d, nil
}

// ParseJSON reads a document as an agent uploads it. Its steps keep the bytes they were received in,
// and nothing in it is interpolated. Problems have no positions.
func ParseJSON(src []byte) (*Document, error) {
	found := &problems{}
	src = bytes.TrimSpace(src)
	switch {
	case len(src) > MaxSource:
		found.add(Position{}, "the document is larger than %d MiB", MaxSource>>20)
	case !json.Valid(src):
		found.add(Position{}, "the document is not valid JSON: %s", jsonFault(src))
	}
	if err := found.err(); err != nil {
		return nil, err
	}
	return &Document{root: value{raw: bytes.Clone(src)}}, nil
}

func jsonFault(src []byte) string {
	var raw json.RawMessage
	err := json.Unmarshal(src, &raw)
	if at, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("%s at byte %d", at.Error(), at.Offset)
	}
	return fmt.Sprint(err)
}

// readMeaning runs the agent's library. Warnings are dropped: they say that the library keeps a
// step as it stands, and planning says what is wrong with that step.
func readMeaning(src []byte) (*gopipeline.Pipeline, error) {
	p, err := readLibrary(src)
	if err != nil && !warning.Is(err) {
		return nil, err
	}
	return p, nil
}

func readLibrary(src []byte) (*gopipeline.Pipeline, error) {
	trimmed := bytes.TrimSpace(src)
	if len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') && json.Valid(trimmed) {
		// JSON goes past the YAML parser, which refuses tabs and surrogate pairs.
		o, err := ordered.DecodeJSON(trimmed)
		if err != nil {
			return nil, err
		}
		p := new(gopipeline.Pipeline)
		return p, ordered.Unmarshal(o, p)
	}
	return gopipeline.Parse(bytes.NewReader(src))
}

// readPlaces builds the positioned tree and reports what is wrong with the text. A text that only
// this parser refuses is accepted without positions, because agents accept it.
func readPlaces(src []byte, meaningErr error, found *problems) *tree {
	if meaningErr != nil && strings.Contains(meaningErr.Error(), "exceeded max depth") {
		// The positioned parser has no such bound, and quadratic time.
		found.add(meaningFault(meaningErr, nil))
		return nil
	}
	file, err := parsePlaces(src)
	switch {
	case err != nil && meaningErr != nil:
		found.add(syntaxFault(err, meaningErr))
		return nil
	case err != nil:
		if several(src) {
			found.add(Position{}, severalDocuments)
		}
		return nil
	}
	t := oneTree(file, found)
	switch {
	case meaningErr == nil:
	case t != nil && len(t.unbound) > 0:
		for _, a := range t.unbound {
			name := tokenText(a.Value)
			found.add(tokenPosition(a.Start), "the alias `*%s` stands for nothing; define `&%s` before it", name, name)
		}
	default:
		found.add(meaningFault(meaningErr, t))
	}
	return t
}

const severalDocuments = "the file holds several documents; put each in a file of its own, or upload them from a step"

// oneTree is the tree of the only document; nil if there is none.
func oneTree(file *ast.File, found *problems) *tree {
	var t *tree
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if t != nil {
			found.add(tokenPosition(doc.Start), severalDocuments)
			return t
		}
		t = newTree(doc.Body)
		t.duplicates(found)
	}
	return t
}

// several looks for a second document with the agent's library, which reads the first alone.
func several(src []byte) bool {
	n := 0
	for _, err := range gopipeline.ParseAll(bytes.NewReader(src)) {
		if err == nil || warning.Is(err) {
			n++
		} else if !strings.Contains(err.Error(), "unsupported type <nil>") {
			return n > 0
		}
		if n > 1 {
			return true
		}
	}
	return false
}

// parsePlaces runs the positioned parser. It is young: if it should break on a text that the
// library reads, the document has no positions, and that is all.
func parsePlaces(src []byte) (file *ast.File, err error) {
	if len(src) > maxPlacedBytes || bytes.Count(src, []byte("\n")) > maxPlacedLines {
		return nil, errors.New("the document is too large to keep positions")
	}
	defer func() {
		if r := recover(); r != nil {
			file, err = nil, fmt.Errorf("positions are unavailable: %v", r)
		}
	}()
	return parser.ParseBytes(src, 0, parser.AllowDuplicateMapKey())
}

func syntaxFault(err, meaningErr error) (Position, string) {
	if at, ok := errors.AsType[*yaml.SyntaxError](err); ok {
		return tokenPosition(at.Token), advised(at.Message)
	}
	return meaningFault(meaningErr, nil)
}

// advised adds what to do to the messages that leave people guessing.
func advised(message string) string {
	switch {
	case strings.Contains(message, "'\t'"), strings.Contains(message, "character '	'"):
		return "a tab cannot indent YAML; use spaces"
	case strings.Contains(message, "not allowed in this context"), strings.Contains(message, "non-map value"):
		return message + "; check the indentation, and quote texts that hold `: `"
	case strings.Contains(message, "infinite recursion"):
		return "an anchor contains itself through an alias"
	case strings.Contains(message, "excessive aliasing"):
		return "the document's aliases expand to far more than it holds; repeat less"
	}
	return message
}

// faultLine finds the line in a message of the library, "line 3: …" or "line 3, col 7: …".
var faultLine = regexp.MustCompile(`^line (\d+)(?:, col (\d+))?: `)

func meaningFault(err error, t *tree) (Position, string) {
	message := err.Error()
	if message == "EOF" || strings.Contains(message, "unsupported type <nil>, want either") {
		return t.top().position(), "the document is empty; a pipeline is a list of steps"
	}
	for _, part := range strings.Split(message, "\n") {
		m := faultLine.FindStringSubmatch(part)
		if m == nil {
			continue
		}
		line, _ := strconv.Atoi(m[1])
		column, _ := strconv.Atoi(m[2])
		return Position{Line: line, Column: max(1, column)}, advised(strings.TrimPrefix(part, m[0]))
	}
	return shapeFault(message, t)
}

// shapeFault explains the few shapes that the library refuses outright.
func shapeFault(message string, t *tree) (Position, string) {
	top := t.top()
	steps := top
	if !top.isSequence() {
		steps = top.child("steps")
	}
	switch {
	case strings.Contains(message, "unmarshaling step: step's `type`"):
		return steps.position(), "the `type` of a step must be a text"
	case strings.Contains(message, "unmarshaling step"):
		return steps.oddItem(), "`steps` must be a list of steps, each a mapping or a word such as wait"
	case strings.Contains(message, "want either"):
		return top.position(), "a pipeline is a mapping with `steps`, or a list of steps"
	}
	for _, name := range []string{"secrets", "checkout"} {
		if strings.Contains(message, "unmarshaling "+name) {
			return top.child(name).position(), fmt.Sprintf("`%s` is not valid: %s", name, lastClause(message))
		}
	}
	if m := faultKey.FindStringSubmatch(message); m != nil {
		at := top.child("env").child(m[1]).position()
		return at, fmt.Sprintf("`%s` in `env` must be a text, a number or a boolean", m[1])
	}
	return top.child("env").position(), "the document is not valid: " + lastClause(message)
}

// faultKey finds the key of a mapping in a message of the library; the only mapping whose values it
// checks outside steps is env.
var faultKey = regexp.MustCompile(`unmarshaling value for key "([^"]*)"`)

// lastClause is the innermost of a chain of wrapped messages.
func lastClause(message string) string {
	parts := strings.Split(message, ": ")
	return parts[len(parts)-1]
}

// normalise renders the library's form of the document, which is what an agent would have sent.
func (d *Document) normalise(found *problems) error {
	raw, err := json.Marshal(d.source)
	if err != nil {
		found.add(d.tree.top().position(), "the document has a value that JSON cannot hold: %s", lastClause(err.Error()))
		return found.err()
	}
	d.root = value{raw: raw, at: d.tree.top()}
	return nil
}

// restoreCommands joins command and commands where a step has both: the library keeps only the latter.
func restoreCommands(steps gopipeline.Steps, at place) {
	for i, step := range steps {
		switch step := step.(type) {
		case *gopipeline.GroupStep:
			restoreCommands(step.Steps, at.item(i).child("steps"))
		case *gopipeline.CommandStep:
			one, several := at.item(i).named("command"), at.item(i).named("commands")
			if one.node != nil && several.node != nil {
				step.Command = strings.Join(append(one.texts(), step.Command), "\n")
			}
		}
	}
}

// stepPlaces is where the list of steps stands.
func (d *Document) stepPlaces() place {
	top := d.tree.top()
	if top.isSequence() {
		return top
	}
	return top.child("steps")
}

// steps are the top-level steps: those of the mapping, or of the bare list.
func (d *Document) steps() value {
	if d.root.isList() {
		return d.root
	}
	steps := d.root.object().get("steps")
	if d.tree != nil {
		steps.at = d.stepPlaces()
	}
	return steps
}
