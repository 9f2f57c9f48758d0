package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/secret"
)

// sealing reads the keys that seal the database's secrets, or makes one for a database that has none
// yet. A database with other keys is refused: its secrets would be lost one by one, and late.
func (a *App) sealing(ctx context.Context) error {
	path := a.SealingKeyFile
	if path == "" {
		path = filepath.Join(a.Data, "sealing.key")
	}
	text, err := a.sealingKeys(ctx, path)
	if err != nil {
		return err
	}
	from := path
	if a.SealingKeys != "" {
		from = "SLIPWAY_SEALING_KEY"
	}
	keys, err := secret.ParseKeys(text)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	if a.Engine.Sealer, err = secret.NewSealer(keys...); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	err = a.Engine.CheckSealing(ctx)
	if errors.Is(err, engine.ErrOtherSealingKey) {
		return fmt.Errorf("%w: %s does not hold it; %s", err, from, otherKey)
	}
	return err
}

const otherKey = "give the first server's sealing.key with --sealing-key-file, or its text as SLIPWAY_SEALING_KEY"

func (a *App) sealingKeys(ctx context.Context, path string) ([]byte, error) {
	if a.SealingKeys != "" {
		return []byte(a.SealingKeys), nil
	}
	text, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	if a.SealingKeyFile != "" {
		return nil, fmt.Errorf("the sealing key cannot be read: %w", err)
	}
	sealed, err := a.Engine.Sealed(ctx)
	if err != nil {
		return nil, err
	}
	if sealed {
		return nil, fmt.Errorf("%w, and %s is missing; restore it, or %s", engine.ErrOtherSealingKey, path, otherKey)
	}
	text = []byte(secret.NewKey())
	return text, writeFile(path, text)
}
