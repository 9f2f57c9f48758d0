package agentapi_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-ci/slipway/internal/agentapi"
)

var update = flag.Bool("update", false, "rewrite docs/protocol.md")

const documentHead = `# The agent protocol

What the agent door serves. This file is generated from the route table of ` + "`internal/agentapi/routes.go`" + `:
` + "`go test ./internal/agentapi -run Document -update`" + `.

The permission says which credential a route asks for: a *registration* token (cluster token) registers agents and serves
fleet tools, a *session* token speaks for a registered agent (*any session*: also after its end), a *job* token for the job that an agent accepted; *own job*
takes only the token of the job in the path, *ended job* also after that job has ended (the answer then says so), *any job*
that of some job of the organization, *signed* a URL that the server signed. The source is the client's file that sends the
request: of [buildkite/agent](https://github.com/buildkite/agent) v3.138.1 unless another client is named.

Beside its own, any route may answer 400 (a body that is not the JSON expected), 401 and 403 (the permission), 413 (a body
that is too large), 415 (one that is compressed), 500 and 503. Agents repeat a request after 429, 5xx and network errors, and take any other 4xx for final,
so load is answered with 503 and never with 429. Every answer that is not a success is ` + "`{\"message\": …}`" + `.

Each answer in the table is one that a test of the package provokes from a running server, and no test sees another.

Streaming pings are beside this table: ` + "`POST /agentedge.v1.AgentEdgeService/StreamPings`" + ` (gRPC, gRPC-Web or Connect, session token). Another
content type is answered with 415 and a message; what is said of the stream itself, a refused token too, is a status of its protocol.

| method | path | permission | source | answers |
|---|---|---|---|---|
`

// TestDocumentIsTheRouteTable keeps docs/protocol.md equal to the code.
func TestDocumentIsTheRouteTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(documentHead)
	for _, rt := range agentapi.Routes() {
		method := rt.Method
		if !strings.Contains(rt.Pattern, " ") {
			method = "any"
		}
		statuses := strings.Trim(strings.ReplaceAll(fmt.Sprint(rt.Statuses), " ", ", "), "[]")
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s |\n", method, rt.Path, rt.Permission, rt.Source, statuses)
	}
	const file = "../../docs/protocol.md"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("docs/protocol.md is not the route table; run the test with -update (-want +got):\n%s", diff)
	}
}
