package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/slipway-ci/slipway/internal/agent/shell"
)

// Checkout is a plugin on this machine.
type Checkout struct {
	Plugin Plugin
	Root   string // the directory that hooks must not lead out of
	Hooks  string // relative to Root
	Env    shell.Env
}

// Clone makes the plugin available below dir, which belongs to one agent, and
// reuses a clone of the same version unless fresh.
func Clone(ctx context.Context, s *shell.Shell, dir string, p Plugin, fresh bool) (Checkout, error) {
	if dir == "" {
		return Checkout{}, errors.New("plugins need --plugins-path")
	}
	env, err := p.Env()
	if err != nil {
		return Checkout{}, err
	}
	repo, sub, err := p.Repository()
	if err != nil {
		return Checkout{}, err
	}
	if p.ID() == "" || strings.HasPrefix(p.Version, "-") {
		return Checkout{}, fmt.Errorf("plugin %q: not a usable name or version", p.Label())
	}
	root := filepath.Join(dir, p.ID())
	if fresh {
		if err := os.RemoveAll(root); err != nil {
			return Checkout{}, fmt.Errorf("plugin %s: %w", p.Label(), err)
		}
	}
	if shell.Exists(filepath.Join(root, ".git")) {
		s.Log.Comment("Plugin %q already checked out", p.Label())
	} else if err := clone(ctx, s, dir, root, repo, p); err != nil {
		return Checkout{}, fmt.Errorf("plugin %s: %w", p.Label(), err)
	}
	c := Checkout{Plugin: p, Root: root, Hooks: filepath.Join(sub, "hooks"), Env: env}
	return c, c.check()
}

// Vendored finds a plugin that is part of the checkout at root.
func Vendored(root string, p Plugin) (Checkout, error) {
	env, err := p.Env()
	if err != nil {
		return Checkout{}, err
	}
	c := Checkout{Plugin: p, Root: root, Hooks: filepath.Join(p.Location, "hooks"), Env: env}
	return c, c.check()
}

func (c Checkout) check() error {
	root, err := os.OpenRoot(c.Root)
	if err != nil {
		return fmt.Errorf("plugin %s: %w", c.Plugin.Label(), err)
	}
	defer root.Close() //nolint:errcheck // read side
	info, err := root.Stat(c.Hooks)
	if err != nil {
		return fmt.Errorf("plugin %s has no hooks directory: %w", c.Plugin.Label(), err)
	}
	if !info.IsDir() {
		return fmt.Errorf("plugin %s: %s is not a directory", c.Plugin.Label(), c.Hooks)
	}
	return nil
}

// clone clones beside the final place and moves the result there.
func clone(ctx context.Context, s *shell.Shell, dir, root, repo string, p Plugin) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(dir, ".clone-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp) //nolint:errcheck // moved away if all went well
	s.Log.Comment("Plugin %q will be checked out to %q", p.Label(), root)
	if err := s.Prompt(ctx, "git", "clone", "-v", "--recursive", "--", repo, temp); err != nil {
		return err
	}
	if p.Version != "" {
		err := s.Prompt(ctx, "git", "-C", temp, "-c", "advice.detachedHead=false", "checkout", "-f", p.Version)
		if err != nil {
			return err
		}
	}
	if err := os.RemoveAll(root); err != nil {
		return err
	}
	return os.Rename(temp, root)
}
