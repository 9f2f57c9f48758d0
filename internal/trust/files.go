package trust

import (
	"path"
	"strings"
)

// Decisive says whether a file decides what builds execute, so that whoever reviews a commit reads its change
// first: the pipeline's document and what lies beside it, what describes containers, and what runs by itself.
// It only orders what people see. Every other file may be run as well.
func Decisive(file, document string) bool {
	name := strings.ToLower(path.Base(file))
	for _, dir := range []string{".buildkite", "buildkite", "ci", ".ci", ".github", path.Dir(document)} {
		if dir != "." && strings.HasPrefix(file, dir+"/") {
			return true
		}
	}
	if file == document || strings.HasPrefix(name, "dockerfile") || strings.HasPrefix(name, "makefile") || strings.HasSuffix(name, ".sh") {
		return true
	}
	switch name {
	case "buildkite.yml", "buildkite.yaml", "buildkite.json", "compose.yml", "compose.yaml", "docker-compose.yml", "docker-compose.yaml",
		".gitmodules", ".gitattributes", "justfile", "rakefile", "jenkinsfile", "build.rs", "conftest.py", "package.json":
		return true
	}
	return false
}
