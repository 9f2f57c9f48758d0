// Package s3test gives each test an empty bucket on a real S3-compatible server, the one of the module
// test/s3server.
//
// The first test of a process starts it, and all tests of that process share it. It is built when no test has
// built it before on this machine. It keeps its files in a directory under the system's temporary one, and
// ends with the process however that dies, because it waits on a pipe from it.
package s3test

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// AccessKey and SecretKey are the credentials of every server.
const (
	AccessKey = "slipway-test"
	SecretKey = "slipway-test-secret"
)

// Region is where every server is.
const Region = "us-east-1"

//go:embed server.sh
var script string

// current is the server of this process, started by the first test that asks.
var current = sync.OnceValues(start)

type server struct {
	url, dir string
	serial   atomic.Int64
	// alive is the pipe that ends the server. It is kept from the garbage collector, which would close it.
	alive io.Closer
}

// Bucket returns the URL of the server and the name of an empty bucket for t alone.
func Bucket(t testing.TB) (url, bucket string) {
	t.Helper()
	s, err := current()
	if err != nil {
		t.Fatalf("S3-compatible server for tests: %v", err)
	}
	bucket = fmt.Sprintf("bucket-%d", s.serial.Add(1))
	if err := os.Mkdir(filepath.Join(s.dir, "buckets", bucket), 0o755); err != nil { // a folder is a bucket to it
		t.Fatal(err)
	}
	return s.url, bucket
}

func start() (*server, error) {
	binary, err := build()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "slipway-s3")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("sh", "-c", script, "sh", binary, address, dir, AccessKey, SecretKey, Region)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if err := answers(address); err != nil {
		return nil, errors.Join(err, stdin.Close(), cmd.Wait(), errors.New(output.String()))
	}
	return &server{url: "http://" + address, dir: dir, alive: stdin}, nil
}

// freeAddress has a port below those that connections get (on Linux 32768 and up), so that none has it when the server begins to listen.
func freeAddress() (string, error) {
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000)))
		if err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", errors.New("no free port between 20000 and 32000")
}

// answers waits until somebody listens.
func answers(address string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.Dial("tcp", address)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// build returns the path of the server's binary, which is kept in the user's cache for as long as the module
// stays as it is.
func build() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	module := filepath.Join(strings.TrimSpace(string(root)), "test", "s3server")
	sums, err := os.ReadFile(filepath.Join(module, "go.sum"))
	if err != nil {
		return "", err
	}
	binary := filepath.Join(cache, "slipway-tests", fmt.Sprintf("versitygw-%x", sha256.Sum256(sums))[:24])
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	// Other processes may build it at the same time; one of them wins.
	own := fmt.Sprintf("%s.%d", binary, os.Getpid())
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", own, "github.com/versity/versitygw/cmd/versitygw")
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, output)
	}
	return binary, os.Rename(own, binary)
}
