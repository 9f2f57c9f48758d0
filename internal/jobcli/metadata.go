package jobcli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/slipway-ci/slipway/internal/agent/wire"
)

// missing is the exit status of "meta-data exists" for a key that is not set
// (clicommand/meta_data_exists.go of buildkite-agent v3.138.1).
const missing exitStatus = 100

func metaDataCommands() []command {
	return []command{
		{name: "meta-data set-batch", args: "<key=value>...", about: "Store several values in the build, all or none", setup: metaDataSetBatch},
		{name: "meta-data set", args: "<key> [value]", about: "Store a value in the build", setup: metaDataSet},
		{name: "meta-data get", args: "<key>", about: "Print a value of the build", setup: metaDataGet},
		{name: "meta-data exists", args: "<key>", about: "Exit with 0 if the build has the key, with 100 if not", setup: metaDataExists},
		{name: "meta-data keys", about: "Print the keys of the build, one a line", setup: metaDataKeys},
	}
}

// scopeFlags say whose meta-data is read.
type scopeFlags struct {
	f          *flags
	job, build *string
}

func (f *flags) scope() scopeFlags {
	return scopeFlags{f, f.job(), f.text("build", "BUILDKITE_METADATA_BUILD_ID", "", "the build to read from, instead of the job's")}
}

func (s scopeFlags) scope() (wire.Scope, error) {
	if *s.build != "" {
		return wire.OfBuild(*s.build), nil
	}
	return wire.OfJob(*s.job), s.f.require("job", *s.job)
}

func metaDataGet(f *flags) action {
	server, scope := f.server(), f.scope()
	fallback := f.text("default", "", "", "what to print if there is no such key")
	return func(ctx context.Context, p *program, args []string) error {
		key, err := only(args, "meta-data key")
		if err != nil {
			return err
		}
		s, c, err := reader(p, server, scope)
		if err != nil {
			return err
		}
		var value string
		err = p.retry(ctx, wire.CallMetaDataRead, func(ctx context.Context, _ int) (err error) {
			value, err = c.MetaData(ctx, s, key)
			return err
		})
		if wire.Status(err) == http.StatusNotFound && f.given("default") {
			p.note("no meta-data %q, the default is used", key)
			value, err = *fallback, nil
		}
		if err != nil {
			return fmt.Errorf("meta-data %q: %w", key, err)
		}
		_, err = fmt.Fprint(p.stdio.Out, value)
		return err
	}
}

func reader(p *program, server serverFlags, scope scopeFlags) (wire.Scope, *wire.Client, error) {
	s, err := scope.scope()
	if err != nil {
		return s, nil, err
	}
	c, err := server.connect(p)
	return s, c, err
}

func metaDataExists(f *flags) action {
	server, scope := f.server(), f.scope()
	return func(ctx context.Context, p *program, args []string) error {
		key, err := only(args, "meta-data key")
		if err != nil {
			return err
		}
		s, c, err := reader(p, server, scope)
		if err != nil {
			return err
		}
		var exists bool
		err = p.retry(ctx, wire.CallMetaDataRead, func(ctx context.Context, _ int) (err error) {
			exists, err = c.MetaDataExists(ctx, s, key)
			return err
		})
		if err == nil && !exists {
			return missing
		}
		return err
	}
}

func metaDataKeys(f *flags) action {
	server, scope := f.server(), f.scope()
	return func(ctx context.Context, p *program, _ []string) error {
		s, c, err := reader(p, server, scope)
		if err != nil {
			return err
		}
		var keys []string
		err = p.retry(ctx, wire.CallMetaDataRead, func(ctx context.Context, _ int) (err error) {
			keys, err = c.MetaDataKeys(ctx, s)
			return err
		})
		if err != nil {
			return fmt.Errorf("meta-data keys: %w", err)
		}
		for _, key := range keys {
			if _, err := fmt.Fprintln(p.stdio.Out, key); err != nil {
				return err
			}
		}
		return nil
	}
}

func metaDataSet(f *flags) action {
	server, job, patterns := f.server(), f.job(), f.redactedVars()
	return func(ctx context.Context, p *program, args []string) error {
		if len(args) == 0 {
			return errors.New("no meta-data key")
		}
		value, err := p.textOrInput(args, 1)
		if err != nil {
			return err
		}
		items := []wire.MetaData{{Key: args[0], Value: value}}
		if err := p.prepare(items, *patterns); err != nil {
			return err
		}
		c, err := connectJob(p, server, *job)
		if err != nil {
			return err
		}
		err = p.retry(ctx, wire.CallMetaDataSet, func(ctx context.Context, _ int) error {
			return c.SetMetaData(ctx, *job, items[0])
		})
		if err != nil {
			return fmt.Errorf("meta-data %q: %w", args[0], err)
		}
		return nil
	}
}

func metaDataSetBatch(f *flags) action {
	server, job, patterns := f.server(), f.job(), f.redactedVars()
	return func(ctx context.Context, p *program, args []string) error {
		items, err := pairs(args)
		if err != nil {
			return err
		}
		if err := p.prepare(items, *patterns); err != nil {
			return err
		}
		c, err := connectJob(p, server, *job)
		if err != nil {
			return err
		}
		err = p.retry(ctx, wire.CallMetaDataSetBatch, func(ctx context.Context, _ int) error {
			return c.SetMetaDataBatch(ctx, *job, items)
		})
		if err != nil {
			return fmt.Errorf("meta-data batch: %w", err)
		}
		return nil
	}
}

func pairs(args []string) ([]wire.MetaData, error) {
	if len(args) == 0 {
		return nil, errors.New("no meta-data: give at least one key=value")
	}
	var items []wire.MetaData
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, fmt.Errorf("meta-data %q: want key=value", arg)
		}
		items = append(items, wire.MetaData{Key: key, Value: value})
	}
	return items, nil
}

// prepare refuses blank keys and values, which the server does not take, and
// redacts the values.
func (p *program) prepare(items []wire.MetaData, patterns []string) error {
	for i := range items {
		m := &items[i]
		if strings.TrimSpace(m.Key) == "" {
			return fmt.Errorf("meta-data key %q is blank", m.Key)
		}
		if strings.TrimSpace(m.Value) == "" {
			return fmt.Errorf("the value of meta-data %q is blank", m.Key)
		}
		var err error
		if m.Value, err = p.redact(patterns, fmt.Sprintf("the value of meta-data %q", m.Key), m.Value); err != nil {
			return err
		}
	}
	return nil
}

// connectJob is for commands that act for a job.
func connectJob(p *program, server serverFlags, job string) (*wire.Client, error) {
	if err := server.f.require("job", job); err != nil {
		return nil, err
	}
	return server.connect(p)
}

// only returns the first argument, which must be there.
func only(args []string, what string) (string, error) {
	if len(args) == 0 || args[0] == "" {
		return "", fmt.Errorf("no %s", what)
	}
	return args[0], nil
}
