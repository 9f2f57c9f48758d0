package engine

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/slipway-ci/slipway/internal/ci"
	"github.com/slipway-ci/slipway/internal/live"
	"github.com/slipway-ci/slipway/internal/procid"
	"github.com/slipway-ci/slipway/internal/secret"
	"github.com/slipway-ci/slipway/internal/store"
)

// RegisterAgent is what an agent says of itself when it registers.
type RegisterAgent struct {
	Token              store.AgentToken
	Name               string // may hold %hostname, %random, %pid and %n; "": invented
	Hostname           string
	OS                 string
	Arch               string
	Version            string
	Build              string
	PID                int
	MachineID          string
	IP                 string
	UserAgent          string
	Tags               []string
	Features           []string
	Priority           string // "" or an integer
	IgnoreInDispatches bool
}

// RegisterAgent begins an agent's session and returns it with the session's token. The agent may
// run jobs once it has connected.
func (e *Engine) RegisterAgent(ctx context.Context, op RegisterAgent) (store.Agent, string, error) {
	token := secret.NewToken("bkaa_")
	if err := checkRegistration(op); err != nil {
		return store.Agent{}, "", err
	}
	op.Tags = distinct(op.Tags)
	a, err := e.newAgent(op, token)
	if err != nil {
		return a, "", err
	}
	err = e.update(ctx, func(tx *store.Tx, hint func(...string)) error {
		// Agents of one machine register at once. Two of one name would share a directory for their checkouts. The lock comes first:
		// a queue that is made refers to the cluster, and two that hold such a reference could not both get it.
		// All agents of the cluster wait for it meanwhile, so that the rest is asked in the same round trip.
		key, unclear := queueTag(op.Tags)
		first := expandedName(op, namePattern(op), 1)
		r, err := tx.LockRegistering(ctx, op.Token.ClusterID, op.Token.ID, key, first)
		if err == nil {
			err = requireToken(r.Token, op)
		}
		if err := cmp.Or(err, unclear); err != nil {
			return err
		}
		q, err := e.queueOf(ctx, tx, op, key, r.Queue)
		if err != nil {
			return err
		}
		a.QueueID = q.ID
		if a.Name, err = e.agentName(ctx, tx, op, first, r.Taken); err != nil {
			return err
		}
		hint(live.Fleet)
		return tx.InsertAgent(ctx, a)
	})
	return a, token, err
}

// requireToken refuses an agent whose token, as it is now, does not let it register.
func requireToken(t store.AgentToken, op RegisterAgent) error {
	if !t.RevokedAt.IsZero() {
		return refuse(Forbidden, "The agent token was revoked.")
	}
	return requireAddress(t, op.IP)
}

// What an agent may say of itself. Anybody with a registration token can write as much.
const (
	maxAgentName = 255      // characters
	maxAgentTags = 500      // tags, features
	maxTag       = 1 << 10  // bytes
	maxAgentText = 16 << 10 // bytes of each text that describes the machine
)

// checkRegistration refuses what is out of proportion: the agent's process ends and shows why.
func checkRegistration(op RegisterAgent) error {
	if utf8.RuneCountInString(op.Name) > maxAgentName {
		return refuse(Invalid, "The agent's name is longer than %d characters.", maxAgentName)
	}
	for what, name := range map[string]string{"name": op.Name, "hostname": op.Hostname} {
		for _, r := range name {
			if unicode.IsControl(r) {
				return refuse(Invalid, "The agent's %s holds a control character, %q.", what, r)
			}
		}
	}
	for what, list := range map[string][]string{"tags": op.Tags, "features": op.Features} {
		if len(list) > maxAgentTags {
			return refuse(Invalid, "The agent has %d %s; the limit is %d.", len(list), what, maxAgentTags)
		}
		if i := slices.IndexFunc(list, func(s string) bool { return len(s) > maxTag }); i >= 0 {
			return refuse(Invalid, "One of the agent's %s has %d bytes; the limit is %d.", what, len(list[i]), maxTag)
		}
	}
	for _, s := range []string{op.Hostname, op.OS, op.Arch, op.Version, op.Build, op.MachineID, op.UserAgent} {
		if len(s) > maxAgentText {
			return refuse(Invalid, "What the agent says of its machine has a text of %d bytes; the limit is %d.", len(s), maxAgentText)
		}
	}
	return nil
}

// distinct drops repetitions, which agents send when a tag comes from two places.
func distinct(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func (e *Engine) newAgent(op RegisterAgent, token string) (store.Agent, error) {
	now := e.Now()
	a := store.Agent{
		Agent: ci.Agent{State: ci.AgentRegistered, LastSeen: now},
		ID:    e.NewID(), ClusterID: op.Token.ClusterID, TokenHash: secret.HashToken(token), AgentTokenID: op.Token.ID,
		Hostname: op.Hostname, OS: op.OS, Arch: op.Arch, Version: op.Version, Build: op.Build, PID: op.PID,
		MachineID: op.MachineID, Process: processOf(op.Features), IP: op.IP, UserAgent: op.UserAgent, Tags: nonNil(op.Tags), Features: nonNil(op.Features),
		IgnoreInDispatches: op.IgnoreInDispatches, CreatedAt: now, ChangedAt: now,
	}
	if op.Priority != "" {
		n, err := strconv.Atoi(op.Priority)
		if err != nil {
			return a, refuse(Invalid, "The agent's priority %q is not a whole number.", op.Priority)
		}
		a.Priority = &n
	}
	return a, nil
}

// processOf finds an agent's process among its features.
func processOf(features []string) string {
	i := slices.IndexFunc(features, func(f string) bool { return strings.HasPrefix(f, procid.Prefix) })
	if i < 0 {
		return ""
	}
	return features[i]
}

func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// queueTag is the queue that an agent's tags name; "" if none does.
func queueTag(tags []string) (key string, err error) {
	for _, t := range tags {
		k, v, ok := strings.Cut(t, "=")
		if !ok || k != "queue" {
			continue
		}
		if key != "" && key != v {
			return "", refuse(Invalid, "The agent names the queues %q and %q; an agent serves one queue.", key, v)
		}
		key = v
	}
	return key, nil
}

// queueOf is the queue that an agent serves: the one that its queue tag names, else the cluster's default, as found.
func (e *Engine) queueOf(ctx context.Context, tx *store.Tx, op RegisterAgent, key string, found []store.Queue) (q store.Queue, err error) {
	if len(found) > 0 {
		return found[0], nil
	}
	if key == "" {
		return q, fmt.Errorf("default queue of cluster %s: %w", op.Token.ClusterID, store.ErrNotFound)
	}
	open, err := e.opensQueues(ctx, tx, op.Token.ClusterID)
	if err != nil {
		return q, err
	}
	if !open {
		return q, e.unknownAgentQueue(ctx, tx, op.Token.ClusterID, key)
	}
	return e.createQueue(ctx, tx, CreateQueue{ClusterID: op.Token.ClusterID, Key: key})
}

// opensQueues says whether agents of a cluster may make the queues that they name.
func (e *Engine) opensQueues(ctx context.Context, tx *store.Tx, clusterID string) (bool, error) {
	if e.OpenQueues {
		return true, nil
	}
	c, err := tx.Cluster(ctx, clusterID)
	if err != nil {
		return false, err
	}
	org, err := tx.OrganizationByID(ctx, c.OrganizationID)
	if err != nil {
		return false, err
	}
	s, err := SettingsOf(org)
	return s.AgentsCreateQueues, err
}

func (e *Engine) unknownAgentQueue(ctx context.Context, tx *store.Tx, clusterID, key string) error {
	queues, err := tx.Queues(ctx, clusterID)
	if err != nil {
		return err
	}
	var known []string
	for _, q := range queues {
		known = append(known, q.Key)
	}
	return refuse(Invalid, "The queue %q does not exist; the queues are: %s. Create it, or start the agent with one of these.",
		key, strings.Join(known, ", "))
}

// maxNames is how many names are tried for an agent.
const maxNames = 1000

// agentName expands an agent's name and makes it unique among the live agents of its cluster: a
// checkout directory is named for it. The first number that is free stands for %n, which the
// configuration of older agents has (packaging/docker of buildkite/agent v3.20.0).
func (e *Engine) agentName(ctx context.Context, tx *store.Tx, op RegisterAgent, name string, taken bool) (string, error) {
	pattern := namePattern(op)
	for n := 2; ; n++ {
		if len(name) > maxLookedUp {
			return "", refuse(Invalid, "The agent's name would have %d bytes, with what its placeholders stand for; the limit is %d.", len(name), maxLookedUp)
		}
		if !taken {
			return name, nil
		}
		if n > maxNames {
			return "", fmt.Errorf("no free name for an agent called %q", op.Name)
		}
		if !strings.Contains(op.Name, "%random") && !strings.Contains(op.Name, "%n") {
			pattern = firstNonEmpty(op.Name, "%hostname") + "-%random"
		}
		name = expandedName(op, pattern, n)
		var err error
		if taken, err = tx.AgentNameTaken(ctx, op.Token.ClusterID, name); err != nil {
			return "", err
		}
	}
}

func namePattern(op RegisterAgent) string {
	return firstNonEmpty(strings.TrimSpace(op.Name), "%hostname-%random")
}

func expandedName(op RegisterAgent, pattern string, n int) string {
	return strings.NewReplacer(
		"%hostname", firstNonEmpty(op.Hostname, "agent"), "%pid", strconv.Itoa(op.PID), "%random", randomText(6), "%n", strconv.Itoa(n),
	).Replace(pattern)
}

func randomText(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz234567" // 32: a byte's low bits are uniform
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand)
	for i := range b {
		b[i] = letters[b[i]%32]
	}
	return string(b)
}
