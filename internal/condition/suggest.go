package condition

import (
	"fmt"
	"strings"
)

// suggestion is ", perhaps you meant `x`?" for the candidate nearest to name,
// or empty if none is near: at most a third of the characters differ. Prefix
// is what name has in front and the candidates leave out.
func suggestion(prefix, name string, candidates []string) string {
	name = strings.TrimPrefix(name, prefix)
	best, least := "", len(name)/3+1
	for _, c := range candidates {
		if d := distance(name, c); d < least {
			best, least = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", perhaps you meant `%s%s`?", prefix, best)
}

// distance counts the insertions, deletions and replacements of bytes that
// turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
