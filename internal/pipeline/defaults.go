package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/internal/condition"
)

// topKeys are the keys that mean something at the top of a document. Others are tolerated: anchors
// live there (https://buildkite.com/docs/pipelines/configure/retry).
var topKeys = set("steps env agents agent_query_rules notify priority image secrets checkout cache")

// defaults are the top-level settings that reach the steps of the same document.
type defaults struct {
	priority int
	image    string
	checkout checkout
	secrets  []Secret
}

// top reads everything but the steps.
func (p *planner) top() {
	if p.doc.root.isList() {
		return
	}
	if !p.doc.root.isObject() {
		p.add(p.doc.root.position(), "a pipeline is a mapping with `steps`, or a list of steps")
		return
	}
	o := p.doc.root.object()
	p.plan.Env = p.textMap(o.get("env"), "env")
	p.plan.Agents = p.agents(o.get("agents", "agent_query_rules"))
	p.plan.Notify = p.notify(o.get("notify"), condition.BuildNotify)
	p.defaults.priority, _ = p.number(o, math.MinInt32, "priority")
	p.defaults.image = p.text(o.get("image"), "image")
	p.defaults.checkout = p.checkout(o.get("checkout"))
	// The key of one pipeline's steps is nothing to inherit:
	// https://buildkite.com/docs/pipelines/configure/git-checkout.
	p.defaults.checkout.sshSecret = ""
	p.defaults.secrets = p.secretList(o.get("secrets"))
	for _, f := range o.fields {
		if near := nearest(f.name, topKeys); !topKeys[f.name] && near != "" {
			p.warn(o.at.keyPosition(f.name), "the top-level key `%s` has no effect, perhaps you meant `%s`?", f.name, near)
		}
	}
}

// Names of secrets and of the variables they are exported as
// (https://buildkite.com/docs/pipelines/security/secrets/buildkite-secrets).
var (
	secretKeyPattern = regexp.MustCompile(`^[A-Za-z0-9_]{1,255}$`)
	sshSecretPattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,254}$`)
	reservedName     = regexp.MustCompile(`(?i)^(buildkite|bk)`)
	reservedExempt   = []string{"BUILDKITE_API_TOKEN", "BUILDKITE_ANALYTICS_TOKEN"}
)

// secrets merges the step's secrets with the document's. A signed step keeps exactly its own: the
// agent verifies the list it gets against the signature.
func (p *planner) secrets(c *CommandStep, body object, checkout checkout) {
	own := p.secretList(body.get("secrets"))
	if c.Signed {
		c.Secrets = own
		return
	}
	if key := checkout.sshSecret; key != "" {
		own = append(own, Secret{Key: key, EnvironmentVariable: "BUILDKITE_GIT_SSH_KEY"})
	}
	c.Secrets = mergeSecrets(own, p.defaults.secrets)
}

// mergeSecrets puts own first; of two secrets for one variable the first stays, as in go-pipeline
// v0.18.1, secrets.go. Secrets without a variable are dropped by a merge there, and kept here.
func mergeSecrets(own, more []Secret) []Secret {
	list := slices.Clone(own)
	for _, s := range more {
		if !slices.ContainsFunc(own, func(o Secret) bool { return o.EnvironmentVariable == s.EnvironmentVariable }) {
			list = append(list, s)
		}
	}
	return list
}

// WithSecrets is a step's definition with the list of secrets that its jobs get, as the reply to an
// accepting agent carries it. All other members keep their bytes and their order.
func WithSecrets(definition json.RawMessage, secrets []Secret) (json.RawMessage, error) {
	step := value{raw: definition}
	if !step.isObject() {
		return nil, errors.New("merging secrets: the definition is no mapping")
	}
	list, err := json.Marshal(secrets)
	if err != nil {
		return nil, fmt.Errorf("merging secrets: %w", err)
	}
	o := step.object()
	if len(secrets) > 0 {
		o.set("secrets", list)
	}
	var b bytes.Buffer
	separator := "{"
	for _, f := range o.fields {
		if f.name == "secrets" && len(secrets) == 0 {
			continue
		}
		name, err := json.Marshal(f.name)
		if err != nil {
			return nil, fmt.Errorf("merging secrets: %w", err)
		}
		b.WriteString(separator)
		b.Write(name)
		b.WriteString(":")
		b.Write(f.raw)
		separator = ","
	}
	if separator == "{" {
		b.WriteString(separator)
	}
	b.WriteString("}")
	return b.Bytes(), nil
}

func (p *planner) secretList(v value) []Secret {
	if v.absent() {
		return nil
	}
	if v.unset() || !v.isObject() && !v.isList() {
		p.add(v.position(), "`secrets` must be a list of keys, or a mapping of variables to keys; leave it out if there are none")
		return nil
	}
	entries, members := v.items(), v.object().fields
	if len(entries)+len(members) == 0 {
		p.add(v.position(), "`secrets` is empty; leave it out if there are none")
	}
	var list []Secret
	for _, f := range members {
		list = append(list, p.secret(f.value, p.text(f.value, "secrets"), f.name))
	}
	for _, e := range entries {
		if !e.isObject() {
			key := p.text(e, "secrets")
			list = append(list, p.secret(e, key, key))
			continue
		}
		o := e.object()
		p.only(o, "an entry of `secrets`", "key", "environment_variable")
		list = append(list, p.secret(e, p.text(o.get("key"), "key"), p.text(o.get("environment_variable"), "environment_variable")))
	}
	return list
}

func (p *planner) secret(v value, key, variable string) Secret {
	switch {
	case !secretKeyPattern.MatchString(key):
		p.add(v.position(), "the key of a secret has 1 to 255 letters, digits or underscores, unlike %q", key)
	case reservedName.MatchString(key):
		p.add(v.position(), "the key of a secret may not begin with buildkite or bk, unlike %q", key)
	case reservedName.MatchString(variable) && !slices.Contains(reservedExempt, variable):
		p.add(v.position(), "a secret cannot be exported as %s: names that begin with BUILDKITE or BK are reserved", variable)
	}
	return Secret{Key: key, EnvironmentVariable: variable}
}

// checkout is the checkout attribute: the variables its members stand for, and the rest.
type checkout struct {
	over      map[string]string // win over the step's env: skip, submodules, lfs
	under     map[string]string // give way to the step's env: flags, commit_verification, sparse
	depth     int
	sshSecret string
}

// checkoutFlags are the members of checkout.flags.
var checkoutFlags = []string{"clone", "fetch", "checkout", "clean"}

// checkout reads the attribute (github.com/buildkite/go-pipeline v0.18.1, step_command_checkout.go).
func (p *planner) checkout(v value) checkout {
	c := checkout{over: map[string]string{}, under: map[string]string{}}
	if v.unset() {
		return c
	}
	if !v.isObject() {
		p.add(v.position(), "`checkout` must be a mapping; to check nothing out, write checkout: {skip: true}")
		return c
	}
	o := v.object()
	p.only(o, "`checkout`", "skip", "submodules", "lfs", "depth", "flags", "sparse", "ssh_secret", "commit_verification")
	for _, m := range []struct{ name, variable string }{
		{"skip", "BUILDKITE_SKIP_CHECKOUT"},
		{"submodules", "BUILDKITE_GIT_SUBMODULES"},
		{"lfs", "BUILDKITE_GIT_LFS_ENABLED"},
	} {
		if !o.get(m.name).unset() {
			c.over[m.variable] = boolText(p.flag(o, m.name))
		}
	}
	c.depth, _ = p.number(o, 1, "depth")
	p.checkoutStrings(&c, o)
	return c
}

func boolText(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

func (p *planner) checkoutStrings(c *checkout, o object) {
	flags := o.get("flags")
	if !flags.unset() && !flags.isObject() {
		p.add(flags.position(), "`checkout.flags` must be a mapping with %s", strings.Join(checkoutFlags, ", "))
	}
	p.only(flags.object(), "`checkout.flags`", checkoutFlags...)
	for _, name := range checkoutFlags {
		if f := flags.object().get(name); !f.unset() {
			c.under[flagsVariable(name)] = p.text(f, name)
		}
	}
	if sparse := o.get("sparse"); !sparse.unset() {
		p.only(sparse.object(), "`checkout.sparse`", "paths")
		paths := p.texts(sparse.object().get("paths"), "paths")
		if len(paths) == 0 {
			p.add(sparse.position(), "`checkout.sparse` needs a list of `paths`")
		}
		c.under["BUILDKITE_GIT_SPARSE_CHECKOUT_PATHS"] = strings.Join(paths, ",")
	}
	if !o.get("commit_verification").unset() {
		c.under["BUILDKITE_GIT_COMMIT_VERIFICATION"] = p.choice(o, "commit_verification", "strict", "warn", "off")
	}
	c.sshSecret = p.text(o.get("ssh_secret"), "ssh_secret")
	if c.sshSecret != "" && (!sshSecretPattern.MatchString(c.sshSecret) || reservedName.MatchString(c.sshSecret)) {
		p.add(o.get("ssh_secret").position(), "`ssh_secret` must be the key of a secret: a letter, then letters, digits and underscores")
	}
}

func flagsVariable(name string) string {
	return "BUILDKITE_GIT_" + strings.ToUpper(name) + "_FLAGS"
}

// defaultFlags are what the agent's own configuration holds for the commands that a depth is added
// to (buildkite-agent v3, clicommand/agent_start.go): a job's variable replaces them whole.
var defaultFlags = map[string]string{
	"BUILDKITE_GIT_CLONE_FLAGS": "-v",
	"BUILDKITE_GIT_FETCH_FLAGS": "-v --prune",
}

// emitted are the variables that a step's image and checkout stand for, those of the document
// included, without the ones over which the step's env has precedence.
func (p *planner) emitted(body object, env map[string]string, own checkout) map[string]string {
	base := p.defaults.checkout
	m := map[string]string{}
	for _, c := range []checkout{base, own} {
		for k, v := range c.under {
			if _, set := env[k]; !set {
				m[k] = v
			}
		}
		for k, v := range c.over {
			m[k] = v
		}
	}
	depth := own.depth
	if depth == 0 {
		depth = base.depth
	}
	if depth > 0 {
		addDepth(m, env, depth)
	}
	image := p.text(body.get("image"), "image")
	if image == "" {
		image = p.defaults.image
	}
	if image != "" {
		m["BUILDKITE_IMAGE"] = image
	}
	if len(m) == 0 {
		return nil
	}
	return m
}

func addDepth(m, env map[string]string, depth int) {
	for variable, flags := range defaultFlags {
		if v, ok := env[variable]; ok {
			flags = v
		}
		if v, ok := m[variable]; ok {
			flags = v
		}
		m[variable] = strings.TrimSpace(flags + " --depth=" + strconv.Itoa(depth))
	}
}
