package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/slipway-ci/slipway/internal/blob"
	"github.com/slipway-ci/slipway/internal/store"
)

// markFolder is where the object is by which servers know that they share their storage.
const markFolder = "storage/"

// checkStorage refuses storage that is not the one in which the database's artifacts and logs are: half of them
// would be missing, now here and now there.
func (a *App) checkStorage(ctx context.Context) error {
	name, err := a.Store.StorageMark(ctx)
	if errors.Is(err, store.ErrNotFound) {
		name, err = a.markStorage(ctx)
	}
	if err != nil {
		return fmt.Errorf("marking the storage of files: %w", err)
	}
	_, err = a.blobs.Stat(ctx, markFolder+name)
	if errors.Is(err, blob.ErrNotFound) {
		return fmt.Errorf("the files of this database are in other storage: %s is not there. Give every server of the database the same "+
			"--s3-bucket, --s3-prefix and --s3-endpoint, or let all of them mount one directory as artifacts in --data. If the files were "+
			"moved, copy all of them; if they are lost for good, make an empty file of that name", a.markPlace(name))
	}
	if err != nil {
		return fmt.Errorf("looking for the mark of the storage: %w", err)
	}
	return nil
}

// markStorage marks this server's storage, unless another server's first start just marked its own. The object is
// there before the database names it.
func (a *App) markStorage(ctx context.Context) (string, error) {
	mine := strings.ToLower(rand.Text())
	if _, err := a.blobs.Put(ctx, markFolder+mine, strings.NewReader("slipway\n")); err != nil {
		return "", err
	}
	name, err := a.Engine.MarkStorage(ctx, mine)
	if err != nil || name == mine {
		return name, err
	}
	return name, a.blobs.Delete(ctx, markFolder+mine)
}

// markPlace is where people find the object that marks the storage; blob/fs and blob/s3 say how its name ends.
func (a *App) markPlace(name string) string {
	if a.files != nil {
		return filepath.Join(a.Data, "artifacts", markFolder, name+"+")
	}
	return "s3://" + a.S3.Bucket + "/" + a.S3.Prefix + markFolder + name + "!"
}
