package agentapi_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/slipway-ci/slipway/internal/agentapi"
)

// TestMain holds the route table, and with it docs/protocol.md, to what servers really answered: when all tests ran,
// a status that none of them provoked is an error. That a route answers nothing else, declared says.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && wholePackage() && !complete() {
		code = 1
	}
	os.Exit(code)
}

// wholePackage says whether no test was left out.
func wholePackage() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz", "test.bench"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return false
		}
	}
	return true
}

// elsewhere are the answers that this package's tests cannot provoke.
var elsewhere = map[answered]string{
	{"GET /artifacts/{artifact}", 302}: "an object store gives files out itself: package artifact, TestFilesGoStraightToTheObjectStoreAndComeFromIt",
	{"GET /caches/{entry}", 302}:       "the same code",
	{"PUT /caches/{entry}", 404}:       "a race: the entry expires while its bytes arrive",
}

func complete() bool {
	all := true
	for _, rt := range agentapi.Routes() {
		for _, status := range rt.Statuses {
			if _, ok := provoked.Load(answered{rt.Pattern, status}); !ok && elsewhere[answered{rt.Pattern, status}] == "" {
				fmt.Printf("%s: the route table has a %d that no test provokes\n", rt.Pattern, status)
				all = false
			}
		}
	}
	return all
}
