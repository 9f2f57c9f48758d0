package store

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	osexec "os/exec" // exec is a function of this package
	"strings"
	"sync"
	"testing"
)

var crash = flag.String("crash", "", "commit to this database until killed; the tests start themselves with it")

func TestMain(m *testing.M) {
	flag.Parse()
	if *crash != "" {
		fmt.Println(commitForever(*crash))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// commitForever inserts an organization and its cluster in one update, again and again on several
// goroutines, and prints the id of each update that was acknowledged.
func commitForever(database string) error {
	o := Options{Path: database}
	if strings.HasPrefix(database, "postgres://") {
		o = Options{Postgres: database}
	}
	ctx := context.Background()
	s, err := Open(ctx, o)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for worker := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), worker, n)
				err := s.Update(ctx, func(tx *Tx) error {
					if err := tx.InsertOrganization(ctx, organization(id)); err != nil {
						return err
					}
					return tx.InsertCluster(ctx, Cluster{ID: id, OrganizationID: id, Name: id, CreatedAt: at(0)})
				})
				mu.Lock()
				if err != nil {
					fmt.Println("error:", err)
				} else {
					fmt.Println(id)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return nil
}

func TestWhatWasAcknowledgedSurvivesKill(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store, o Options) {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		var acknowledged []string
		for range 3 {
			acknowledged = append(acknowledged, killAmidCommits(t, o)...)
		}
		s = reopen(t, o)
		for _, id := range acknowledged {
			if !has(t, s, id) {
				t.Errorf("%s was acknowledged and is lost", id)
			}
		}
		const halves = `SELECT COUNT(*) FROM organizations WHERE id NOT IN (SELECT organization_id FROM clusters)`
		if n, err := one(t.Context(), s.q, scanInt, halves); err != nil || n != 0 {
			t.Errorf("%d updates are there by half: %v", n, err)
		}
	})
}

// killAmidCommits runs commitForever in a process of its own, kills it, and returns what it printed.
func killAmidCommits(t *testing.T, o Options) []string {
	t.Helper()
	cmd := osexec.CommandContext(t.Context(), os.Args[0], "-crash="+o.Path+o.Postgres)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ids []string
	after := 5 + rand.IntN(60)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "error") {
			t.Error(lines.Text())
		}
		if ids = append(ids, lines.Text()); len(ids) == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || len(ids) < after {
		t.Errorf("the process ended by itself after %d commits: %v", len(ids), err)
	}
	return ids
}
