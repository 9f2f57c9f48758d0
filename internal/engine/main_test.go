package engine_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain makes 30 random builds where nobody asks for more with -rapid.checks: each is some
// hundred transactions and as many looks at the whole build.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "30"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
