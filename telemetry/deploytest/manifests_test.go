package deploytest_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pedro-go/pedro/lifecycle"
)

// The parts of Kubernetes' types that the manifests use. They are decoded
// strictly, so that a misspelt or misplaced field is an error, as it is for
// kubectl.
type (
	meta struct {
		Name   string
		Labels map[string]string
	}
	selector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	}
	probe struct {
		HTTPGet          struct{ Path, Port string } `yaml:"httpGet"`
		PeriodSeconds    int                         `yaml:"periodSeconds"`
		TimeoutSeconds   int                         `yaml:"timeoutSeconds"`
		FailureThreshold int                         `yaml:"failureThreshold"`
	}
	container struct {
		Name, Image string
		Ports       []struct {
			Name          string
			ContainerPort int `yaml:"containerPort"`
		}
		Env     []struct{ Name, Value string }
		EnvFrom []struct {
			SecretRef struct{ Name string } `yaml:"secretRef"`
		} `yaml:"envFrom"`
		StartupProbe    probe `yaml:"startupProbe"`
		ReadinessProbe  probe `yaml:"readinessProbe"`
		LivenessProbe   probe `yaml:"livenessProbe"`
		Resources       struct{ Requests, Limits struct{ CPU, Memory string } }
		SecurityContext struct {
			AllowPrivilegeEscalation bool                    `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool                    `yaml:"readOnlyRootFilesystem"`
			Capabilities             struct{ Drop []string } `yaml:"capabilities"`
		} `yaml:"securityContext"`
	}
	podSpec struct {
		TerminationGracePeriodSeconds int  `yaml:"terminationGracePeriodSeconds"`
		AutomountServiceAccountToken  bool `yaml:"automountServiceAccountToken"`
		TopologySpreadConstraints     []struct {
			MaxSkew           int      `yaml:"maxSkew"`
			TopologyKey       string   `yaml:"topologyKey"`
			WhenUnsatisfiable string   `yaml:"whenUnsatisfiable"`
			LabelSelector     selector `yaml:"labelSelector"`
		} `yaml:"topologySpreadConstraints"`
		SecurityContext struct {
			RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
			RunAsUser      int                   `yaml:"runAsUser"`
			SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
		} `yaml:"securityContext"`
		Containers []container
	}
	deployment struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   meta
		Spec       struct {
			Replicas int
			Selector selector
			Strategy struct {
				Type          string
				RollingUpdate struct {
					MaxSurge       int `yaml:"maxSurge"`
					MaxUnavailable int `yaml:"maxUnavailable"`
				} `yaml:"rollingUpdate"`
			}
			Template struct {
				Metadata meta
				Spec     podSpec
			}
		}
	}
	serviceManifest struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   meta
		Spec       struct {
			Selector map[string]string
			Ports    []struct {
				Name       string
				Port       int
				TargetPort string `yaml:"targetPort"`
			}
		}
	}
	disruptionBudget struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   meta
		Spec       struct {
			MaxUnavailable int `yaml:"maxUnavailable"`
			Selector       selector
		}
	}
	compose struct {
		Name     string
		Services map[string]struct {
			Image       string
			Build       struct{ Context, Dockerfile string }
			Ports       []string
			Environment map[string]string
			DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
			StopGrace   time.Duration                         `yaml:"stop_grace_period"`
			Restart     string
			ReadOnly    bool `yaml:"read_only"`
			Volumes     []string
			Command     []string
			Healthcheck struct {
				Test     []string
				Interval time.Duration
				Retries  int
			}
		}
		Volumes map[string]any
	}
)

func read(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, path))
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func env(c container, name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

// warnings are what lifecycle says about the times of a pod when it starts.
func warnings(t *testing.T, drain time.Duration, k lifecycle.Kubernetes) string {
	t.Helper()
	var log bytes.Buffer
	g, err := lifecycle.New(lifecycle.Config{}, lifecycle.WithDrain(drain, nil), lifecycle.WithKubernetes(k),
		lifecycle.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = g.Stop(ctx) // without waiting for the drain
	said := ""
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "advice=") {
			said += line
		}
	}
	return said
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	var d deployment
	read(t, "kubernetes/deployment.yaml", &d)
	var s serviceManifest
	read(t, "kubernetes/service.yaml", &s)
	var b disruptionBudget
	read(t, "kubernetes/poddisruptionbudget.yaml", &b)
	for got, want := range map[string]string{
		d.APIVersion + " " + d.Kind: "apps/v1 Deployment", s.APIVersion + " " + s.Kind: "v1 Service", b.APIVersion + " " + b.Kind: "policy/v1 PodDisruptionBudget",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	const label = "app.kubernetes.io/name"
	name := d.Spec.Template.Metadata.Labels[label]
	for what, got := range map[string]string{
		"deployment": d.Spec.Selector.MatchLabels[label], "service": s.Spec.Selector[label], "budget": b.Spec.Selector.MatchLabels[label],
		"spread": d.Spec.Template.Spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels[label],
	} {
		if name == "" || got != name {
			t.Errorf("the selector of the %s is %q, and the pods are %q", what, got, name)
		}
	}
	if b.Spec.MaxUnavailable >= d.Spec.Replicas {
		t.Errorf("the budget lets all %d instances go at once", d.Spec.Replicas)
	}

	pod := d.Spec.Template.Spec
	c := pod.Containers[0]
	if c.Ports[0].Name != "http" || s.Spec.Ports[0].TargetPort != "http" || env(c, "ADDR") != ":"+strconv.Itoa(c.Ports[0].ContainerPort) {
		t.Errorf("the service goes to %s, the container has %v and listens on %s", s.Spec.Ports[0].TargetPort, c.Ports, env(c, "ADDR"))
	}
	for path, p := range map[string]probe{"startup": c.StartupProbe, "ready": c.ReadinessProbe, "live": c.LivenessProbe} {
		if p.HTTPGet.Path != "/api/health/"+path || p.HTTPGet.Port != "http" {
			t.Errorf("the probe %s asks %s at %s", path, p.HTTPGet.Path, p.HTTPGet.Port)
		}
	}
	drain, err := time.ParseDuration(env(c, "DRAIN_DELAY"))
	if err != nil {
		t.Fatal(err)
	}
	k := lifecycle.Kubernetes{
		ProbePeriod:      time.Duration(c.ReadinessProbe.PeriodSeconds) * time.Second,
		FailureThreshold: c.ReadinessProbe.FailureThreshold,
		GracePeriod:      time.Duration(pod.TerminationGracePeriodSeconds) * time.Second,
	}
	if said := warnings(t, drain, k); said != "" {
		t.Errorf("lifecycle warns of the manifest's times:\n%s", said)
	}
	if warnings(t, drain/2, k) == "" {
		t.Error("half the drain delay gives no warning: the check checks nothing")
	}
	k.GracePeriod = lifecycle.DefaultStopBudget
	if warnings(t, drain, k) == "" {
		t.Error("a grace period without room gives no warning: the check checks nothing")
	}
}

func TestCompose(t *testing.T) {
	t.Parallel()
	var c compose
	read(t, "compose.yaml", &c)
	clinic := c.Services["clinic"]
	if clinic.StopGrace <= lifecycle.DefaultStopBudget {
		t.Errorf("stop_grace_period is %v, and the stop may take %v", clinic.StopGrace, lifecycle.DefaultStopBudget)
	}
	for name := range clinic.DependsOn {
		if len(c.Services[name].Healthcheck.Test) == 0 {
			t.Errorf("clinic waits for %s to be healthy, which has no check", name)
		}
	}
	file, err := os.ReadFile(filepath.Join(deploy, clinic.Build.Context, clinic.Build.Dockerfile))
	if err != nil {
		t.Fatal(err)
	}
	target := regexp.MustCompile(`go build .* (\./\S+)`).FindStringSubmatch(string(file))
	if target == nil {
		t.Fatal("the Dockerfile builds nothing")
	}
	if _, err := os.Stat(filepath.Join(deploy, clinic.Build.Context, target[1], "main.go")); err != nil {
		t.Errorf("the Dockerfile builds %s: %v", target[1], err)
	}
	if redis := strings.Join(c.Services["redis"].Command, " "); !strings.Contains(redis, "--appendonly yes") || !strings.Contains(redis, "--maxmemory-policy noeviction") {
		t.Errorf("Redis is not kept as sessions need it: %s", redis)
	}
}

func TestSystemd(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(deploy, "systemd", "clinic.service"))
	if err != nil {
		t.Fatal(err)
	}
	unit := string(text)
	for name, least := range map[string]time.Duration{"TimeoutStopSec": lifecycle.DefaultStopBudget, "TimeoutStartSec": lifecycle.DefaultStartTimeout} {
		m := regexp.MustCompile(`(?m)^` + name + `=(\d+)$`).FindStringSubmatch(unit)
		if m == nil {
			t.Fatalf("the unit has no %s", name)
		}
		if seconds, _ := strconv.Atoi(m[1]); time.Duration(seconds)*time.Second <= least {
			t.Errorf("%s is %ss, and the group may take %v", name, m[1], least)
		}
	}
	for _, line := range []string{"Type=notify", "WatchdogSec=30"} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the unit has no %s", line)
		}
	}
	exe, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze: the rest needs systemd")
	}
	file := filepath.Join(t.TempDir(), "clinic.service")
	unit = strings.Replace(unit, "/usr/local/bin/clinic", "/bin/true", 1) // verify wants it to exist
	if err := os.WriteFile(file, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "verify", "--man=no", file)
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("clinic.service")) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
