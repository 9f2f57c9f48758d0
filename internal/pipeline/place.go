package pipeline

import (
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// maxHops bounds how many aliases, tags and merges one look-up of a position follows, so that a
// document whose anchors refer to each other ends it.
const maxHops = 64

// spellings are the names under which an attribute may stand in a document whose normal form has
// the first one.
var spellings = map[string][]string{
	"key":     {"key", "id", "identifier"},
	"label":   {"label", "name"},
	"command": {"command", "commands"},
	"group":   {"group", "label", "name"},
}

// place is a node of the positioned tree. Its zero value is a place that nobody knows: every
// look-up from it gives an unknown place again. Places serve messages only; what a document means
// never depends on them.
type place struct {
	tree *tree
	node ast.Node
	near Position // the nearest known place around it, if the node itself is unknown
}

// tree is the positioned tree of one document.
type tree struct {
	root    ast.Node
	anchors map[*ast.AliasNode]ast.Node                           // what each alias stands for
	unbound []*ast.AliasNode                                      // aliases that stand for nothing
	pairs   map[*ast.MappingNode]map[string]*ast.MappingValueNode // by key, made when first asked for
}

func (t *tree) top() place {
	if t == nil {
		return place{}
	}
	return place{tree: t, node: t.root}
}

// newTree binds each alias to the anchor of its name that was defined last before it.
func newTree(root ast.Node) *tree {
	b := &binder{names: map[string]ast.Node{}, anchors: map[*ast.AliasNode]ast.Node{}}
	ast.Walk(b, root)
	return &tree{
		root: root, anchors: b.anchors, unbound: b.unbound,
		pairs: map[*ast.MappingNode]map[string]*ast.MappingValueNode{},
	}
}

type binder struct {
	names   map[string]ast.Node
	anchors map[*ast.AliasNode]ast.Node
	unbound []*ast.AliasNode
}

func (b *binder) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.AnchorNode:
		b.names[tokenText(n.Name)] = n.Value
	case *ast.AliasNode:
		if target, ok := b.names[tokenText(n.Value)]; ok {
			b.anchors[n] = target
		} else {
			b.unbound = append(b.unbound, n)
		}
	}
	return b
}

func tokenText(n ast.Node) string {
	if n == nil || n.GetToken() == nil {
		return ""
	}
	return n.GetToken().Value
}

// position is where the node begins.
func (p place) position() Position {
	switch n := p.node.(type) {
	case nil:
		return p.near
	case *ast.MappingNode:
		// The token of a block mapping is its first colon; its first key is what people see.
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return place{node: n.Values[0].Key}.position()
		}
	case *ast.MappingValueNode:
		return place{node: n.Key}.position()
	}
	return tokenPosition(p.node.GetToken())
}

func tokenPosition(t *token.Token) Position {
	if t == nil || t.Position == nil {
		return Position{}
	}
	return Position{Line: max(1, t.Position.Line), Column: max(1, t.Position.Column)}
}

// resolve follows anchors, aliases and tags to the node that holds the content.
func (p place) resolve() place {
	for range maxHops {
		switch n := p.node.(type) {
		case *ast.AnchorNode:
			p.node = n.Value
		case *ast.TagNode:
			p.node = n.Value
		case *ast.AliasNode:
			p.node = p.tree.anchors[n]
		default:
			return p
		}
	}
	return p.unknown()
}

func (p place) item(i int) place {
	seq, ok := p.resolve().node.(*ast.SequenceNode)
	if !ok || i >= len(seq.Values) {
		return p.unknown()
	}
	return place{tree: p.tree, node: seq.Values[i]}
}

// child is the value of an attribute, under any of its spellings.
func (p place) child(name string) place {
	if pair := p.pair(name); pair != nil {
		return place{tree: p.tree, node: pair.Value}
	}
	return p.unknown()
}

// unknown is a place somewhere inside this one.
func (p place) unknown() place { return place{near: p.position()} }

// keyPosition is where the name of an attribute stands, or where the mapping begins.
func (p place) keyPosition(name string) Position {
	if pair := p.pair(name); pair != nil {
		return place{node: pair.Key}.position()
	}
	return p.position()
}

// named is the value under exactly this key.
func (p place) named(name string) place {
	hops := 0
	if pair := p.find([]string{name}, &hops); pair != nil {
		return place{tree: p.tree, node: pair.Value}
	}
	return place{}
}

// texts are the scalars of a list, or the scalar itself.
func (p place) texts() []string {
	switch n := p.resolve().node.(type) {
	case *ast.SequenceNode:
		var list []string
		for _, v := range n.Values {
			list = append(list, place{tree: p.tree, node: v}.texts()...)
		}
		return list
	case *ast.LiteralNode:
		return []string{n.Value.Value}
	case *ast.NullNode, nil:
		return nil
	default:
		return []string{tokenText(n)}
	}
}

func (p place) pair(name string) *ast.MappingValueNode {
	names := spellings[name]
	if names == nil {
		names = []string{name}
	}
	hops := 0
	return p.find(names, &hops)
}

// find looks at the mapping's own pairs first and then at what it merges, as merging does.
func (p place) find(names []string, hops *int) *ast.MappingValueNode {
	if *hops++; *hops > maxHops {
		return nil
	}
	at := p.resolve()
	values := at.pairs()
	byName := at.byName(values)
	for _, name := range names {
		if v := byName[name]; v != nil {
			return v
		}
	}
	for _, v := range values {
		if !isMerge(v) {
			continue
		}
		for _, source := range (place{tree: p.tree, node: v.Value}).merged() {
			if found := source.find(names, hops); found != nil {
				return found
			}
		}
	}
	return nil
}

// byName finds a mapping's own pairs by their keys.
func (p place) byName(values []*ast.MappingValueNode) map[string]*ast.MappingValueNode {
	m, ok := p.node.(*ast.MappingNode)
	if ok && p.tree.pairs[m] != nil {
		return p.tree.pairs[m]
	}
	names := make(map[string]*ast.MappingValueNode, len(values))
	for _, v := range values {
		if v.Key != nil && !isMerge(v) {
			names[tokenText(keyNode(v.Key))] = v
		}
	}
	if ok {
		p.tree.pairs[m] = names
	}
	return names
}

// pairs are the mapping's own pairs; nil if the place is no mapping.
func (p place) pairs() []*ast.MappingValueNode {
	switch n := p.resolve().node.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

// merged are the mappings that the value of a merge key names.
func (p place) merged() []place {
	seq, ok := p.resolve().node.(*ast.SequenceNode)
	if !ok {
		return []place{p}
	}
	list := make([]place, len(seq.Values))
	for i, v := range seq.Values {
		list[i] = place{tree: p.tree, node: v}
	}
	return list
}

func isMerge(v *ast.MappingValueNode) bool {
	return v.Key != nil && v.Key.IsMergeKey()
}

// duplicates reports every key that stands twice in one mapping.
func (t *tree) duplicates(found *problems) {
	ast.Walk(&duplicateFinder{found}, t.root)
}

type duplicateFinder struct{ found *problems }

func (d *duplicateFinder) Visit(n ast.Node) ast.Visitor {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		return d
	}
	first := make(map[string]Position, len(m.Values))
	for _, v := range m.Values {
		if v.Key == nil || isMerge(v) {
			continue
		}
		name, at := tokenText(keyNode(v.Key)), place{node: keyNode(v.Key)}.position()
		if before, ok := first[name]; ok {
			d.found.add(at, "the key `%s` is already set on line %d; remove one of the two", name, before.Line)
			continue
		}
		first[name] = at
	}
	return d
}

// keyNode is the scalar of a key, also of one written as `? key`.
func keyNode(k ast.MapKeyNode) ast.Node {
	if m, ok := k.(*ast.MappingKeyNode); ok && m.Value != nil {
		return m.Value
	}
	return k
}

// strings are the texts of all string scalars, keys included, in document order.
func (t *tree) strings() []placedText {
	if t == nil {
		return nil
	}
	w := &stringFinder{}
	ast.Walk(w, t.root)
	return slices.Clip(w.list)
}

type placedText struct {
	text string
	pos  Position
}

type stringFinder struct{ list []placedText }

func (s *stringFinder) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.LiteralNode:
		if n.Value != nil {
			s.list = append(s.list, placedText{n.Value.Value, tokenPosition(n.Start)})
		}
		return nil
	case *ast.StringNode:
		s.list = append(s.list, placedText{n.Value, tokenPosition(n.Token)})
	}
	return s
}

func (p place) isSequence() bool {
	_, ok := p.resolve().node.(*ast.SequenceNode)
	return ok
}

// oddItem is the first item of a list of steps that is neither a mapping nor a word.
func (p place) oddItem() Position {
	seq, ok := p.resolve().node.(*ast.SequenceNode)
	if !ok {
		return p.position()
	}
	for i := range seq.Values {
		switch p.item(i).resolve().node.(type) {
		case *ast.MappingNode, *ast.MappingValueNode, *ast.StringNode, *ast.LiteralNode:
		default:
			return p.item(i).position()
		}
	}
	return p.position()
}

// character is a place inside of a text; indent is the column at which further lines of it begin.
type character struct {
	Position
	indent int
}

// firstCharacter is where a text begins that stands in the document letter by letter: in a block
// with `|`, or on one line, plain or in quotes.
func (p place) firstCharacter(text string) (character, bool) {
	if p.tree == nil || text == "" {
		return character{}, false
	}
	switch n := p.resolve().node.(type) {
	case *ast.LiteralNode:
		if n.Start == nil || !strings.HasPrefix(n.Start.Value, "|") || n.Value == nil || n.Value.Value != text {
			return character{}, false
		}
		at := tokenPosition(n.Value.GetToken())
		origin := strings.TrimLeft(n.Value.GetToken().Origin, "\n")
		indent := 1 + len(origin) - len(strings.TrimLeft(origin, " "))
		return character{Position{tokenPosition(n.Start).Line + 1, indent}, indent}, at.Line > 0
	case *ast.StringNode:
		at := tokenPosition(n.Token)
		if n.Value != text || strings.Contains(text, "\n") {
			return character{}, false
		}
		switch n.Token.Type {
		case token.SingleQuoteType, token.DoubleQuoteType:
			at.Column++
			plain := strings.Contains(n.Token.Origin, text)
			return character{at, at.Column}, plain
		}
		return character{at, at.Column}, !strings.Contains(strings.TrimSpace(n.Token.Origin), "\n")
	}
	return character{}, false
}
