package web

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/store"
)

// Bounds of the picture of a build. Over foldOver nodes, groups that ended well are one node each, then
// all groups, then steps of a kind; what is still more than drawOver is not drawn.
const (
	foldOver = 60
	drawOver = 200
)

// GraphPane is how the jobs of a build wait for each other.
type GraphPane struct {
	Version    string
	Nodes      []GraphNode
	Edges      []GraphEdge
	Jobs       int
	Wide, High int // px
	TooMany    int // nodes, where there are too many to draw
	Peek       *GraphPeek
}

// GraphPeek is the job below the picture.
type GraphPeek struct {
	JobPane
	Href  string
	After []string // what it waited for
	Error string   // first error line of its log
}

// GraphNode is one step, or several.
type GraphNode struct {
	Label, Note string
	State       State
	Href        string // "" for a wait
	Cells       []GraphCell
	After       []string // labels of what it waits for
	X, Y, W, H  int
	Column      int
	Wait        bool
	Critical    bool
	Dim         bool // not reached yet, or never
	On          bool
	Next, Prev  []int // nodes
}

// GraphCell is one of a step's parallel jobs.
type GraphCell struct {
	State State
	Href  string
}

// GraphEdge says that one node waits for another.
type GraphEdge struct {
	From, To       int
	Critical, Todo bool
}

// knot is a node in the making.
type knot struct {
	steps  []int
	folded string // label of what is folded
	preds  map[int]bool
}

// graph draws a build with a job in view.
func (f *flow) graph(current string) *GraphPane {
	knots, at := f.knots()
	g := &GraphPane{Jobs: len(f.jobs)}
	if len(knots) > drawOver {
		g.TooMany = len(knots)
		return g
	}
	crit := map[int]bool{}
	path := f.critical()
	for _, k := range path {
		crit[at[k]] = at[k] >= 0
	}
	for n, k := range knots {
		node := f.node(k, current)
		node.Critical = crit[n] && len(path) > 1
		g.Nodes = append(g.Nodes, node)
	}
	chain := map[[2]int]bool{}
	for i := 1; i < len(path); i++ {
		chain[[2]int{at[path[i-1]], at[path[i]]}] = true
	}
	for n, k := range knots {
		for _, p := range sortedKeys(k.preds) {
			g.Edges = append(g.Edges, GraphEdge{From: p, To: n, Critical: chain[[2]int{p, n}], Todo: !g.Nodes[p].State.Over() && !g.Nodes[p].Wait || g.Nodes[p].Dim})
			g.Nodes[n].Prev, g.Nodes[p].Next = append(g.Nodes[n].Prev, p), append(g.Nodes[p].Next, n)
			g.Nodes[n].After = append(g.Nodes[n].After, g.Nodes[p].Label)
		}
	}
	g.place(columnsByDepth(knots))
	return g
}

func sortedKeys(m map[int]bool) []int {
	out := make([]int, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// knots folds the steps until there are few enough nodes to look at, and says in which each step is.
func (f *flow) knots() (knots []knot, at []int) {
	for _, key := range []func(int) string{f.stepKey, f.doneGroupKey, f.groupKey, f.kindKey} {
		if knots, at = f.gather(key); len(knots) <= foldOver {
			break
		}
	}
	return knots, at
}

// stepKey keeps every step apart.
func (f *flow) stepKey(k int) string { return fmt.Sprint("s", k) }

// groupKey puts the members of a group together.
func (f *flow) groupKey(k int) string {
	if g, ok := f.stepAt[f.steps[k].GroupID]; ok {
		return fmt.Sprint("g", g)
	}
	return f.stepKey(k)
}

// doneGroupKey puts the members of a group together that has ended well.
func (f *flow) doneGroupKey(k int) string {
	g, ok := f.stepAt[f.steps[k].GroupID]
	if e := f.buildView.ends; ok && e[g].open == 0 && !e[g].failed && !e[g].canceled {
		return f.groupKey(k)
	}
	return f.stepKey(k)
}

// kindKey puts steps together that wait for the same.
func (f *flow) kindKey(k int) string {
	if f.steps[k].GroupID != "" || f.steps[k].Kind == ci.StepWait {
		return f.groupKey(k)
	}
	return fmt.Sprint("k", f.preds[k])
}

// gather puts the steps with the same key into one node.
func (f *flow) gather(key func(int) string) ([]knot, []int) {
	var knots []knot
	at, seen := make([]int, len(f.steps)), map[string]int{}
	for k, s := range f.steps {
		at[k] = -1
		if s.Kind == ci.StepGroup || s.Kind == ci.StepWait && !f.gates(k) {
			continue
		}
		id := key(k)
		n, ok := seen[id]
		if !ok {
			n, seen[id] = len(knots), len(knots)
			knots = append(knots, knot{preds: map[int]bool{}})
			if g, ok := f.stepAt[s.GroupID]; ok && id[0] == 'g' {
				knots[n].folded = orElse(f.steps[g].Label, f.steps[g].Key)
			}
		}
		knots[n].steps = append(knots[n].steps, k)
		at[k] = n
	}
	for k := range f.steps {
		for _, p := range f.preds[k] {
			if at[p] >= 0 && at[k] >= 0 && at[p] != at[k] {
				knots[at[k]].preds[at[p]] = true
			}
		}
	}
	return knots, at
}

// gates says whether anything waits for a wait: a block after it waits for all before by itself.
func (f *flow) gates(wait int) bool { return len(f.preds[wait]) > 0 || f.waitedFor[wait] }

// node is how a knot looks.
func (f *flow) node(k knot, current string) GraphNode {
	s := f.steps[k.steps[0]]
	if s.Kind == ci.StepWait && len(k.steps) == 1 {
		return GraphNode{Label: labelText(orElse(s.Label, "wait")), State: Waiting, Wait: true, Dim: f.ends[k.steps[0]].IsZero()}
	}
	var jobs []store.JobLine
	for _, i := range k.steps {
		jobs = append(jobs, f.jobsOf[i]...)
	}
	n := GraphNode{Label: f.knotLabel(k, jobs), State: Created, Note: "not made yet", Dim: true}
	if len(jobs) == 0 {
		return n
	}
	worst, done := jobs[0], 0
	for _, j := range jobs {
		st := f.states[j.ID]
		if st.Worse(f.states[worst.ID]) {
			worst = j
		}
		if endedWell(st) {
			done++
		}
		n.On = n.On || j.ID == current
		if len(jobs) <= maxParallel && len(k.steps) == 1 {
			n.Cells = append(n.Cells, GraphCell{st, f.graphPath(j.ID)})
		}
	}
	n.State, n.Href = f.states[worst.ID], f.graphPath(worst.ID)
	n.Dim = StepRow{State: n.State}.Dim()
	n.Note = fmt.Sprintf("%d of %d ended well", done, len(jobs))
	if len(jobs) == 1 {
		n.Cells, n.Note = nil, f.jobNote(jobs[0])
	}
	return n
}

func (b *buildView) graphPath(job string) string { return b.path() + "/graph?job=" + job }

func (f *flow) knotLabel(k knot, jobs []store.JobLine) string {
	s := f.steps[k.steps[0]]
	switch {
	case k.folded != "":
		return labelText(k.folded)
	case len(jobs) == 1:
		return labelText(f.labelOf(jobs[0]))
	case len(k.steps) > 1:
		return fmt.Sprintf("%s and %d more", labelText(withoutIndex(orElse(s.Label, orElse(s.Key, string(s.Kind))))), len(k.steps)-1)
	}
	return labelText(withoutIndex(orElse(s.Label, orElse(s.Key, string(s.Kind)))))
}

// jobNote is the second line of a node: how long, or why not.
func (f *flow) jobNote(j store.JobLine) string {
	st := f.states[j.ID]
	switch {
	case j.Kind == ci.JobManual && st == Unblocked:
		return sentence(f.explained(j).Why())
	case j.Kind == ci.JobManual && !st.Over():
		return "a person decides"
	case j.Kind == ci.JobTrigger && !st.Over():
		return "starts another pipeline"
	case !j.StartedAt.IsZero():
		note := duration(Span{Start: j.StartedAt, End: j.FinishedAt, Now: f.now}.Length())
		if j.Retries > 0 {
			note += fmt.Sprintf(", attempt %d", j.Retries+1)
		}
		if st == Soft {
			note += ", may fail"
		}
		return note
	}
	return orElse(f.explained(j).Why(), strings.ToLower(st.Word()))
}

// columnsByDepth are the nodes by how many stand before them, in pipeline order.
func columnsByDepth(knots []knot) [][]int {
	depth, open, next := make([]int, len(knots)), make([]int, len(knots)), make([][]int, len(knots))
	var ready []int
	for n, k := range knots {
		open[n] = len(k.preds)
		for p := range k.preds {
			next[p] = append(next[p], n)
		}
		if open[n] == 0 {
			ready = append(ready, n)
		}
	}
	for i := 0; i < len(ready); i++ {
		for _, n := range next[ready[i]] {
			depth[n] = max(depth[n], depth[ready[i]]+1)
			if open[n]--; open[n] == 0 {
				ready = append(ready, n)
			}
		}
	}
	var columns [][]int
	for n := range knots {
		for len(columns) <= depth[n] {
			columns = append(columns, nil)
		}
		columns[depth[n]] = append(columns[depth[n]], n)
	}
	return columns
}

// Sizes of the picture, in px.
const (
	knotWide, knotHigh, cellsHigh = 216, 54, 84
	knotGapX, knotGapY            = 72, 20
	barWide, drawingEdge          = 30, 28
)

// place gives each node its place: columns side by side, each in the middle of the height. A wait that
// is alone in its column is a bar.
func (g *GraphPane) place(columns [][]int) {
	high := 0
	for _, c := range columns {
		high = max(high, g.columnHigh(c))
	}
	x := drawingEdge
	for n, c := range columns {
		wide, y := knotWide, drawingEdge+(high-g.columnHigh(c))/2
		if len(c) == 1 && g.Nodes[c[0]].Wait {
			wide = barWide
		}
		for _, i := range c {
			node := &g.Nodes[i]
			node.X, node.Y, node.W, node.H, node.Column = x, y, wide, g.nodeHigh(i), n
			if wide == barWide {
				node.Y, node.H = drawingEdge, high
			}
			y += node.H + knotGapY
		}
		x += wide + knotGapX
	}
	g.Wide, g.High = x-knotGapX+drawingEdge, high+2*drawingEdge
}

func (g *GraphPane) nodeHigh(n int) int {
	if len(g.Nodes[n].Cells) > 0 {
		return cellsHigh
	}
	return knotHigh
}

func (g *GraphPane) columnHigh(c []int) int {
	high := -knotGapY
	for _, n := range c {
		high += g.nodeHigh(n) + knotGapY
	}
	return high
}
