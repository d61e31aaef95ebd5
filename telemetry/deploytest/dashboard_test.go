package deploytest_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// dashboard is the part of Grafana's model that matters here.
type dashboard struct {
	UID    string
	Panels []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ H, W, X, Y int }
		Targets []struct{ Expr string }
	}
	Annotations struct{ List []struct{ Expr string } }
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, "grafana", "pedro.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// filled puts in what Grafana would.
var filled = strings.NewReplacer("$__rate_interval", window, "$job", "clinic", "$instance", ".*")

// checkDashboard asks every query of every panel, as Grafana would with all
// variables at "All", until each has answered with a number.
func checkDashboard(t *testing.T, p *prometheus) {
	t.Helper()
	queries := 0
	for _, panel := range readDashboard(t).Panels {
		if panel.Type == "row" {
			continue
		}
		if len(panel.Targets) == 0 {
			t.Errorf("panel %q has no query", panel.Title)
		}
		for _, target := range panel.Targets {
			queries++
			hasNumbers(t, p, "panel "+panel.Title, filled.Replace(target.Expr))
		}
	}
	if queries < 40 {
		t.Errorf("got %d queries, want all of the dashboard", queries)
	}
	rules, err := os.ReadFile(filepath.Join(deploy, "prometheus", "recording.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`record: (\S+)`).FindAllStringSubmatch(string(rules), -1) {
		hasNumbers(t, p, "rule", m[1])
	}
	for _, a := range readDashboard(t).Annotations.List {
		if _, err := p.values(t.Context(), filled.Replace(a.Expr)); err != nil {
			t.Errorf("annotation %s: %v", a.Expr, err)
		}
	}
}

func hasNumbers(t *testing.T, p *prometheus, what, query string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		values, err := p.values(ctx, query)
		if err == nil && slices.ContainsFunc(values, func(v string) bool { return v != "NaN" }) {
			return
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %s: %v", what, query, err)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Errorf("%s is empty: %s gave %v", what, query, values)
			return
		}
	}
}

// TestDashboardLayout finds panels that overlap, and ids and titles given twice.
func TestDashboardLayout(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("panel %q: id %d is used twice", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.GridPos.X+p.GridPos.W > 24 || p.GridPos.W < 4 {
			t.Errorf("panel %q: from column %d, %d wide, is not within 24 columns", p.Title, p.GridPos.X, p.GridPos.W)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("panel %q lies on %q", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}
