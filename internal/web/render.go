package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed templates
var templateFiles embed.FS

// Pages renders every page and fragment. It is immutable after NewPages and
// safe for concurrent use.
type Pages struct {
	set    *template.Template
	assets *assetSet
	marks  marks
}

// NewPages parses all templates once; an error means this binary was built
// from broken templates.
func NewPages() (*Pages, error) {
	assets, err := loadAssets()
	if err != nil {
		return nil, err
	}
	p := &Pages{assets: assets, marks: newMarks(assets.url("icons.svg"))}
	p.set, err = template.New("").Funcs(p.funcs()).ParseFS(templateFiles, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("parse templates: %w", err)
	}
	return p, nil
}

func (p *Pages) funcs() template.FuncMap {
	return template.FuncMap{
		"asset":    p.assets.url,
		"i":        p.marks.icon,
		"g":        p.marks.glyph,
		"st":       p.marks.word,
		"logo":     p.marks.logo,
		"lbl":      p.marks.label,
		"label":    labelText,
		"plain":    plain,
		"ticks":    ticks,
		"bars":     bars,
		"strip":    strip,
		"spark":    spark,
		"slots":    slots,
		"line":     p.marks.line,
		"steprows": p.marks.stepRows,
		"drawing":  drawing,
		"graph":    p.marks.graph,
		"water":    p.marks.water,
		"listed":   listed,
		"duration": duration,
		"ago":      ago,
		"size":     size,
		"count":    count,
		"plural":   plural,
		"short":    shortCommit,
		"keys":     func() []keyHelp { return keyTable },
		"pair":     pair,
	}
}

// couple hands a template its own value together with the page's frame.
type couple struct {
	Frame Frame
	It    any
}

func pair(f Frame, it any) couple { return couple{f, it} }

// Write renders the named template. Output is buffered, so that an error
// leaves w untouched.
func (p *Pages) Write(w io.Writer, name string, data any) error {
	var buf bytes.Buffer
	if err := p.set.ExecuteTemplate(&buf, name, data); err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	_, err := buf.WriteTo(w)
	return err
}

// Fragment renders the named template to a string, for the live stream.
func (p *Pages) Fragment(name string, data any) (string, error) {
	var buf bytes.Buffer
	if err := p.set.ExecuteTemplate(&buf, name, data); err != nil {
		return "", fmt.Errorf("render %s: %w", name, err)
	}
	return buf.String(), nil
}
