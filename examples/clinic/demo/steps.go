package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/examples/clinic/internal/rig"
)

const (
	user     = "reception"
	password = "a password for the demonstration"
)

// demo is what the steps share.
type demo struct {
	dir      string
	program  string
	postgres *devservices.Postgres
	redis    *devservices.Redis
	a, b     *rig.Instance
	front    *rig.Balancer
	onA, onB *rig.Client
	patient  struct{ ID int64 }
}

// close ends what is running, whatever the steps came to.
func (d *demo) close() {
	if d.front != nil {
		_ = d.front.Close()
	}
	for _, i := range []*rig.Instance{d.a, d.b} {
		if i != nil {
			_ = i.Close()
		}
	}
	if d.redis != nil {
		_ = d.redis.Close()
	}
	if d.postgres != nil {
		_ = d.postgres.Close()
	}
	if d.dir != "" {
		_ = os.RemoveAll(d.dir)
	}
}

func (d *demo) startServers(ctx context.Context) (string, error) {
	var err1, err2 error
	var wg sync.WaitGroup
	wg.Go(func() { d.postgres, err1 = devservices.StartPostgres(ctx) })
	wg.Go(func() { d.redis, err2 = devservices.StartRedis(ctx, devservices.WithAppendOnly()) })
	wg.Wait()
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	return fmt.Sprintf("on ports %d and %d, from the installed programs", d.postgres.Port(), d.redis.Port()), nil
}

func (d *demo) build(ctx context.Context) (said string, err error) {
	if d.dir, err = os.MkdirTemp("", "pedro-demo-"); err != nil {
		return "", err
	}
	d.program, err = rig.Build(ctx, d.dir)
	return "", err
}

func (d *demo) startInstances(ctx context.Context) (said string, err error) {
	env := []string{
		"DATABASE_URL=" + d.postgres.URL(), "REDIS_URL=" + d.redis.URL(),
		"SESSION_SECRET=" + rand.Text() + rand.Text(), "CLINIC_USER=" + user, "CLINIC_PASSWORD=" + password, "DRAIN_DELAY=1s",
	}
	var err1, err2 error
	d.a, err1 = rig.NewInstance(d.program, d.dir, "A", env...)
	d.b, err2 = rig.NewInstance(d.program, d.dir, "B", env...)
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	var wg sync.WaitGroup
	wg.Go(func() { err1 = d.a.Start(ctx) })
	wg.Go(func() { err2 = d.b.Start(ctx) })
	wg.Wait()
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	d.front, err = rig.NewBalancer(100*time.Millisecond, false, d.a, d.b)
	return "both ready, schema migrated once", err
}

func (d *demo) login(ctx context.Context) (string, error) {
	d.onA = rig.NewClient(d.a.URL)
	if err := d.onA.Expect(ctx, http.StatusUnauthorized, http.MethodGet, "/api/me", nil, nil); err != nil {
		return "", fmt.Errorf("before the login: %w", err)
	}
	if err := d.onA.Login(ctx, user, password); err != nil {
		return "", err
	}
	d.onB = d.onA.At(d.b.URL)
	var me struct{ Name string }
	began := time.Now()
	if err := d.onB.Expect(ctx, http.StatusOK, http.MethodGet, "/api/me", nil, &me); err != nil {
		return "", err
	}
	if me.Name != user {
		return "", fmt.Errorf("on B we are %q, want %q", me.Name, user)
	}
	return fmt.Sprintf("B knows us in %s", round(time.Since(began))), nil
}

func (d *demo) cache(ctx context.Context) (string, error) {
	p := map[string]string{"name": "Ada Lovelace", "email": "ada@example.com", "born": "1990-12-10"}
	if err := d.onA.Expect(ctx, http.StatusCreated, http.MethodPost, "/api/patients", p, &d.patient); err != nil {
		return "", err
	}
	path := fmt.Sprintf("/api/patients/%d", d.patient.ID)
	timed := func(c *rig.Client) (time.Duration, cacheStats, error) {
		before, err := cacheOf(ctx, c)
		if err != nil {
			return 0, before, err
		}
		began := time.Now()
		err = c.Expect(ctx, http.StatusOK, http.MethodGet, path, nil, nil)
		took := time.Since(began)
		after, err2 := cacheOf(ctx, c)
		return took, cacheStats{after.Loads - before.Loads, after.Hits - before.Hits}, errors.Join(err, err2)
	}
	missed, miss, err := timed(d.onA)
	if err != nil {
		return "", err
	}
	hit, second, err := timed(d.onB)
	if err != nil {
		return "", err
	}
	if miss != (cacheStats{Loads: 1}) || second != (cacheStats{Hits: 1}) {
		return "", fmt.Errorf("the first read made %+v, the second %+v, want one load, then one hit", miss, second)
	}
	return fmt.Sprintf("miss on A %s (one load), hit on B %s (none)", round(missed), round(hit)), nil
}

// cacheStats is what an instance's health page tells of its cache.
type cacheStats struct{ Loads, Hits uint64 }

func cacheOf(ctx context.Context, c *rig.Client) (cacheStats, error) {
	// The numbers are those of the last check, which is why they are awaited by a
	// check of their own on demand.
	var page struct {
		Services map[string]struct{ Details cacheStats }
	}
	err := c.Expect(ctx, http.StatusOK, http.MethodGet, "/api/health/detailed/cache", nil, &page)
	return page.Services["cache"].Details, err
}

func (d *demo) importPatients(ctx context.Context) (string, error) {
	const n = 10_000
	var file bytes.Buffer
	file.WriteString("name,email,born\n")
	for i := range n {
		fmt.Fprintf(&file, "Patient %d,patient%d@example.com,19%02d-0%d-1%d\n", i, i, i%100, 1+i%9, i%10)
	}
	var imported float64
	began := time.Now()
	status, err := d.onA.Stream(ctx, "/api/patients/import", &file, func(line map[string]any) {
		if done, ok := line["done"].(float64); ok {
			const width = 24
			filled := int(width * done / n)
			show("  … import 10,000 patients  [%s%s] %3.0f %%", strings.Repeat("█", filled), strings.Repeat("░", width-filled), 100*done/n)
		}
		if v, ok := line["imported"].(float64); ok {
			imported = v
		}
	})
	if err != nil || status != http.StatusOK || imported != n {
		return "", fmt.Errorf("%.0f of %d imported, status %d: %w", imported, n, status, err)
	}
	took := time.Since(began)

	// And one with a mistake on line 4: nothing of it may stay.
	bad := "name,email,born\nX,x1@example.com,1980-01-01\nY,x2@example.com,1980-01-01\nZ,x3@example.com,yesterday\n"
	r, err := d.onA.Do(ctx, http.MethodPost, "/api/patients/import", strings.NewReader(bad))
	if err != nil || r.Status != http.StatusUnprocessableEntity || !bytes.Contains(r.Body, []byte(`"line":4`)) {
		return "", fmt.Errorf("a bad file: status %d, %s, %w, want 422 for line 4", r.Status, r.Body, err)
	}
	return fmt.Sprintf("%.0f rows/s; a file with a mistake: refused, line 4", n/took.Seconds()), nil
}

func (d *demo) book(ctx context.Context) (string, error) {
	body := map[string]any{"doctor": "Dr. Bento", "starts_at": "2031-05-05T09:30:00Z", "patient_id": d.patient.ID}
	var won, taken atomic.Int64
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	for i := range 50 {
		client := []*rig.Client{d.onA, d.onB}[i%2]
		wg.Go(func() {
			r, err := client.Do(ctx, http.MethodPost, "/api/appointments", body)
			switch {
			case err == nil && r.Status == http.StatusCreated:
				won.Add(1)
			case err == nil && r.Status == http.StatusConflict:
				taken.Add(1)
			default:
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("status %d: %s: %w", r.Status, r.Body, err))
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || taken.Load() != 49 {
		return "", errors.Join(append(errs, fmt.Errorf("%d won and %d were told that it is taken, want 1 and 49", won.Load(), taken.Load()))...)
	}
	return "1 won, 49 were told that it is taken", nil
}

func (d *demo) killRedis(ctx context.Context) (string, error) {
	if err := d.redis.Kill(); err != nil {
		return "", err
	}
	var slowest time.Duration
	const n = 100
	for i := range n {
		client := []*rig.Client{d.onA, d.onB}[i%2]
		began := time.Now()
		if err := client.Expect(ctx, http.StatusOK, http.MethodGet, "/api/me", nil, nil); err != nil {
			return "", err
		}
		slowest = max(slowest, time.Since(began))
	}
	// Whoever was not there before can log in too.
	late := rig.NewClient(d.a.URL)
	defer late.Close()
	if err := late.Login(ctx, user, password); err != nil {
		return "", fmt.Errorf("a login without Redis: %w", err)
	}
	d.onA = late
	return fmt.Sprintf("%d requests answered, the slowest in %s; and a new login", n, round(slowest)), nil
}

func (d *demo) restartRedis(ctx context.Context) (string, error) {
	if err := d.redis.Restart(ctx); err != nil {
		return "", err
	}
	began := time.Now()
	// The login made meanwhile on A is known on B when A has written it back.
	onB := d.onA.At(d.b.URL)
	defer onB.Close()
	for {
		r, err := onB.Do(ctx, http.MethodGet, "/api/me", nil)
		if err == nil && r.Status == http.StatusOK {
			break
		}
		if err != nil || time.Since(began) > 10*time.Second {
			return "", fmt.Errorf("the login made without Redis does not reach B: status %d: %w", r.Status, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	took := time.Since(began)
	if err := d.onB.Expect(ctx, http.StatusOK, http.MethodGet, "/api/me", nil, nil); err != nil {
		return "", fmt.Errorf("the login from before: %w", err)
	}
	return fmt.Sprintf("the login made meanwhile reached B %s after", round(took)), nil
}

func (d *demo) restartInstance(ctx context.Context) (string, error) {
	client := d.onA.At(d.front.URL)
	defer client.Close()
	var asked, failed, added atomic.Int64
	var first atomic.Pointer[string]
	loadCtx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := 0; loadCtx.Err() == nil; i++ {
				asked.Add(1)
				p := map[string]string{"name": "Load", "email": fmt.Sprintf("load-%d-%d@example.com", worker, i), "born": "1980-01-01"}
				if err := client.Expect(ctx, http.StatusCreated, http.MethodPost, "/api/patients", p, nil); err != nil {
					failed.Add(1)
					first.CompareAndSwap(nil, new(err.Error()))
					continue
				}
				added.Add(1)
			}
		})
	}
	err := errors.Join(d.a.Stop(ctx), d.a.Start(ctx))
	time.Sleep(500 * time.Millisecond) // some load on the new one
	stop()
	wg.Wait()
	if err != nil {
		return "", err
	}
	if n := failed.Load(); n > 0 {
		return "", fmt.Errorf("%d of %d requests failed, the first: %s", n, asked.Load(), *first.Load())
	}
	return fmt.Sprintf("%d POST requests, %d failed", asked.Load(), failed.Load()), nil
}

func (d *demo) health(ctx context.Context) (string, error) {
	client := d.onA.At(d.b.URL)
	defer client.Close()
	var page struct {
		Status   string
		Services map[string]struct {
			Status  string
			Latency float64 `json:"latency_ms"`
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) { // what has failed is checked again within a second
		if err := client.Expect(ctx, http.StatusOK, http.MethodGet, "/api/health/detailed", nil, &page); err != nil {
			return "", err
		}
		if page.Status == "pass" {
			break
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("it is %s, want pass: %+v", page.Status, page.Services)
		}
	}
	var parts []string
	for name, s := range page.Services {
		parts = append(parts, fmt.Sprintf("%s %s %.1f ms", name, s.Status, s.Latency))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", "), nil
}

func (d *demo) stop(ctx context.Context) (string, error) {
	var err1, err2 error
	var wg sync.WaitGroup
	wg.Go(func() { err1 = d.a.Stop(ctx) })
	wg.Go(func() { err2 = d.b.Stop(ctx) })
	wg.Wait()
	return "drained and exited with 0", errors.Join(err1, err2)
}
