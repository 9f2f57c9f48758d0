package annotation

import (
	"bytes"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// What Markdown lets a few kilobytes ask for is more than a server has: goldmark v1.8.7 fills each row of a table up to the columns of its
// head, visits every open block for each line, cuts a paragraph's lines again for each address in it, looks for the end of a link as far as the
// paragraph goes, once for each beginning, and for each mark of emphasis through all that stand before it.
// Beyond these bounds, which no annotation that people read comes near, the text stays as it was written.
const (
	maxCells = 100_000   // of a table
	maxDepth = 50        // of quotations and lists within each other
	maxLines = 2_000     // of a paragraph that begins with the address of a link
	maxSeeks = 6_000_000 // bytes and nodes passed over for links that are none, in a body, and as many for emphasis
)

// Where parsers keep, while they read a body, what they have passed over. Keys are made by counting, which must happen once and
// not while anybody reads (goldmark v1.8.7, parser.NewContextKey).
var keys = struct{ emphasis, links parser.ContextKey }{parser.NewContextKey(), parser.NewContextKey()}

// newMarkdown is GitHub's dialect without task lists, within bounds.
func newMarkdown(options ...renderer.Option) goldmark.Markdown {
	p := parser.NewParser(
		parser.WithBlockParsers(bounded(parser.DefaultBlockParsers())...),
		parser.WithInlineParsers(bounded(parser.DefaultInlineParsers())...),
		parser.WithInlineParsers(util.Prioritized(marks{extension.NewStrikethroughParser(), keys.emphasis}, 500)),
		parser.WithParagraphTransformers(util.Prioritized(references{parser.LinkReferenceParagraphTransformer}, 100)),
		parser.WithParagraphTransformers(util.Prioritized(tables{extension.NewTableParagraphTransformer()}, 200)),
		parser.WithASTTransformers(util.Prioritized(extension.NewTableASTTransformer(), 0)),
	)
	return goldmark.New(
		goldmark.WithParser(p),
		goldmark.WithExtensions(extension.Linkify),
		goldmark.WithRendererOptions(append(options, renderer.WithNodeRenderers(
			util.Prioritized(extension.NewStrikethroughHTMLRenderer(), 500), util.Prioritized(extension.NewTableHTMLRenderer(), 500),
		))...),
	)
}

// bounded puts bounds to the parsers of a list that need them.
func bounded(list []util.PrioritizedValue) []util.PrioritizedValue {
	for i, v := range list {
		switch v.Value {
		case parser.NewListParser(), parser.NewBlockquoteParser():
			list[i].Value = nested{v.Value.(parser.BlockParser)}
		case parser.NewLinkParser():
			list[i].Value = links{v.Value.(linkParser), keys.links}
		case parser.NewEmphasisParser():
			list[i].Value = marks{v.Value.(parser.InlineParser), keys.emphasis}
		}
	}
	return list
}

// nested opens no block too deep within others.
type nested struct{ parser.BlockParser }

func (n nested) Open(parent ast.Node, reader text.Reader, pc parser.Context) (ast.Node, parser.State) {
	depth := 0
	for p := parent; p != nil; p = p.Parent() {
		if depth++; depth > maxDepth {
			return nil, parser.NoChildren
		}
	}
	return n.BlockParser.Open(parent, reader, pc)
}

// tables makes no table with too many cells.
type tables struct{ parser.ParagraphTransformer }

func (t tables) Transform(node *ast.Paragraph, reader text.Reader, pc parser.Context) {
	columns := 0
	for i := range node.Lines().Len() {
		line := node.Lines().At(i)
		columns = max(columns, bytes.Count(line.Value(reader.Source()), []byte("|"))+1)
	}
	if columns*node.Lines().Len() <= maxCells {
		t.ParagraphTransformer.Transform(node, reader, pc)
	}
}

// references takes no addresses of links from a paragraph that is too long: each that is found is cut out of its lines.
type references struct{ parser.ParagraphTransformer }

func (r references) Transform(node *ast.Paragraph, reader text.Reader, pc parser.Context) {
	if node.Lines().Len() <= maxLines {
		r.ParagraphTransformer.Transform(node, reader, pc)
	}
}

type linkParser interface {
	parser.InlineParser
	parser.CloseBlocker
}

// links gives up on links when too much was passed over in search of them.
type links struct {
	linkParser
	key parser.ContextKey // of the seeks
}

// seeks is what the links of a body have cost, or its emphasis.
type seeks struct {
	spent  int
	parent ast.Node // whose brackets or marks are counted
	open   int      // brackets without an end so far, or marks
}

// seeksIn returns what was spent so far, or nil if that is enough.
func seeksIn(parent ast.Node, pc parser.Context, key parser.ContextKey) *seeks {
	s, _ := pc.Get(key).(*seeks)
	if s == nil {
		s = &seeks{}
		pc.Set(key, s)
	}
	if s.parent != parent {
		s.parent, s.open = parent, 0
	}
	if s.spent > maxSeeks {
		return nil
	}
	return s
}

// marks gives up on emphasis, and on what is struck out, when too many marks would be gone through for their like.
type marks struct {
	parser.InlineParser
	key parser.ContextKey // of the seeks, one for both
}

func (m marks) Parse(parent ast.Node, block text.Reader, pc parser.Context) ast.Node {
	s := seeksIn(parent, pc, m.key)
	if s == nil {
		return nil
	}
	found := m.InlineParser.Parse(parent, block, pc)
	if found != nil {
		s.open++
		s.spent += s.open
	}
	return found
}

func (l links) Parse(parent ast.Node, block text.Reader, pc parser.Context) ast.Node {
	s := seeksIn(parent, pc, l.key)
	if s == nil {
		return nil
	}
	line, segment := block.PeekLine()
	found := l.linkParser.Parse(parent, block, pc)
	switch {
	case line[0] != ']':
		s.open++
	case found != nil:
		s.open = max(0, s.open-1)
	default:
		s.spent += s.open
		if len(line) > 1 && line[1] == '(' {
			s.spent += max(0, end(parent)-segment.Start)
		}
	}
	return found
}

// end is where the text of a block ends.
func end(block ast.Node) int {
	lines := block.Lines()
	if lines.Len() == 0 {
		return 0
	}
	return lines.At(lines.Len() - 1).Stop
}
