package deploytest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/internal/ports"
)

const deploy = "../../deploy"

// prometheus is a server of the test's own.
type prometheus struct{ url string }

// program finds a program, or skips the test; under CI it fails.
func program(t *testing.T, name, how string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("no %s: %s", name, how)
	}
	t.Skipf("no %s: %s", name, how)
	return ""
}

const getPrometheus = "run scripts/setup.sh, or apt-get install prometheus, or brew install prometheus"

// The rules are those of deploy/ with shorter times: nobody wants to wait ten
// minutes for an alert. Only durations change, in "for:" and in windows of five
// minutes and more; [1h] stays, since it is for looking back.
var (
	waits   = regexp.MustCompile(`(?m)^(\s+for:) \d+[smh]$`)
	windows = regexp.MustCompile(`\[\d+m\]`)
)

const window = "4s"

// shortened makes the rules quick. The windows of a quarter of an hour are for what happens once: on a busy machine a
// scrape or two may fail just then, and the window has to reach back to the one before.
func shortened(rules string) string {
	rules = strings.ReplaceAll(rules, "[15m]", "[60s]")
	return windows.ReplaceAllString(waits.ReplaceAllString(rules, "$1 1s"), "["+window+"]")
}

// startPrometheus has one scrape a target twice a second.
func startPrometheus(t *testing.T, target string) *prometheus {
	t.Helper()
	exe := program(t, "prometheus", getPrometheus)
	dir := t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}\nrule_files: [recording.yml, alerts.yml]\n"+
		"scrape_configs: [{job_name: clinic, static_configs: [{targets: [%q]}]}]\n", target)
	files := map[string]string{"prometheus.yml": config}
	for _, name := range []string{"recording.yml", "alerts.yml"} {
		text, err := os.ReadFile(filepath.Join(deploy, "prometheus", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = shortened(string(text))
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	port, err := ports.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(port.Release)
	cmd := exec.Command(exe, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+port.Addr(), "--log.level=warn")
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Prometheus says:\n%s", log.String())
		}
	})
	p := &prometheus{url: "http://" + port.Addr()}
	eventually(t, 20*time.Second, "Prometheus does not become ready", func() error {
		resp, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
	return p
}

func eventually(t *testing.T, limit time.Duration, what string, try func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); ; <-tick.C {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s within %v: %v", what, limit, err)
		}
	}
}

// get asks the API and decodes what is under data.
func (p *prometheus) get(ctx context.Context, path string, data any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return errors.New(answer.Error)
	}
	return json.Unmarshal(answer.Data, data)
}

// values are those of an instant query, NaN included.
func (p *prometheus) values(ctx context.Context, query string) ([]string, error) {
	var data struct {
		Result []struct{ Value [2]any }
	}
	if err := p.get(ctx, "/api/v1/query?query="+url.QueryEscape(query), &data); err != nil {
		return nil, err
	}
	var values []string
	for _, series := range data.Result {
		values = append(values, fmt.Sprint(series.Value[1]))
	}
	return values, nil
}

type alert struct {
	Labels, Annotations map[string]string
	State               string
}

// alerts are those in a state, or all that are pending or firing.
func (p *prometheus) alerts(ctx context.Context, state string) (map[string]alert, error) {
	var data struct{ Alerts []alert }
	if err := p.get(ctx, "/api/v1/alerts", &data); err != nil {
		return nil, err
	}
	byName := map[string]alert{}
	for _, a := range data.Alerts {
		if state == "" || a.State == state {
			byName[a.Labels["alertname"]] = a
		}
	}
	return byName, nil
}
