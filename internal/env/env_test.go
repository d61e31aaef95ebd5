package env_test

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/internal/env"
)

var errKind = errors.New("x: invalid config")

type config struct {
	Name     string        `envconfig:"T_NAME"`
	Max      int32         `envconfig:"T_MAX"`
	On       bool          `envconfig:"T_ON"`
	Wait     time.Duration `envconfig:"T_WAIT"`
	List     []string      `envconfig:"T_LIST"`
	Password string        `envconfig:"T_PASSWORD" secret:"true"`
	URL      string        `envconfig:"T_URL" secret:"url"`
	URLs     []string      `envconfig:"T_URLS" secret:"url"`
	Untagged string
}

func TestLoad(t *testing.T) {
	for name, value := range map[string]string{
		"T_NAME": "n", "T_MAX": "7", "T_ON": "true", "T_WAIT": "1500", "T_LIST": "a, b,,c ", "UNTAGGED": "no", "Untagged": "no",
	} {
		t.Setenv(name, value)
	}
	got := config{Password: "kept"}
	if err := env.Load(&got); err != nil {
		t.Fatal(err)
	}
	want := config{Name: "n", Max: 7, On: true, Wait: 1500 * time.Millisecond, List: []string{"a", "b", "c"}, Password: "kept"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, want %#v", got, want)
	}
}

func TestLoadTakesEmptyAsUnset(t *testing.T) {
	t.Setenv("T_MAX", "")
	t.Setenv("T_WAIT", "")
	got := config{Max: 3}
	if err := env.Load(&got); err != nil || got.Max != 3 {
		t.Errorf("got %+v and %v, want the field left alone", got.Max, err)
	}
}

func TestLoadDurations(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"30000": 30 * time.Second, "30s": 30 * time.Second, "1m30s": 90 * time.Second, "-1": -time.Millisecond, "0": 0,
	} {
		t.Setenv("T_WAIT", value)
		var got config
		if err := env.Load(&got); err != nil || got.Wait != want {
			t.Errorf("T_WAIT=%s gives %v and %v, want %v", value, got.Wait, err, want)
		}
	}
	for _, value := range []string{"5 s", " 10s ", "abc", "1e99", "9223372036854775807", "NaN", "10 000", "1.5"} {
		t.Setenv("T_WAIT", value)
		if err := env.Load(new(config)); err == nil {
			t.Errorf("T_WAIT=%q is accepted, want an error", value)
		}
	}
}

func TestLoadReportsEverythingAtOnceWithoutValues(t *testing.T) {
	for _, name := range []string{"T_MAX", "T_ON", "T_WAIT"} {
		t.Setenv(name, "hunter2")
	}
	err := env.Load(new(config))
	want := "\n\tT_MAX: not a whole number in range; write digits such as 20" +
		"\n\tT_ON: not a yes or no; write true or false" +
		"\n\tT_WAIT: not a duration; write milliseconds such as 30000, or a unit such as 30s"
	if err == nil || err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	var p env.Problems
	if err := p.Err(errKind); err != nil {
		t.Fatalf("no problems: got %v, want nil", err)
	}
	p.Add("A", "must be %d", 1)
	if got, want := p.Err(errKind).Error(), "x: invalid config: A: must be 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var other env.Problems
	other.Add("B", "missing")
	p.AddErr(other.Err(nil))
	p.AddErr(nil)
	p.AddErr(errors.New("C: odd"))
	err := p.Err(errKind)
	if got, want := err.Error(), "x: invalid config:\n\tA: must be 1\n\tB: missing\n\tC: odd"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(err, errKind) {
		t.Error("the error does not wrap its kind")
	}
}

func TestFormatHidesSecrets(t *testing.T) {
	t.Parallel()
	cfg := config{
		Name: "n", Max: 1, Wait: time.Second, Password: "canary1",
		URL:  "postgres://u:canary2@h:5432/db?password=canary3#canary4",
		URLs: []string{"host=h password=canary5", "redis://:canary6@h/0", "%zz:canary7"},
	}
	got := env.Format(cfg)
	want := "{Name:n Max:1 Wait:1s Password:[hidden] URL:postgres://h:5432/db URLs:[[hidden] redis://h/0 [hidden]]}"
	if got != want {
		t.Errorf("Format = %s, want %s", got, want)
	}
	data, err := env.MarshalJSON(cfg)
	wantJSON := `{"Name":"n","Max":1,"Wait":"1s","Password":"[hidden]","URL":"postgres://h:5432/db","URLs":["[hidden]","redis://h/0","[hidden]"]}`
	if err != nil || string(data) != wantJSON {
		t.Errorf("MarshalJSON = %s and %v, want %s", data, err, wantJSON)
	}
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "config", env.LogValue(cfg))
	if s := b.String() + fmt.Sprint(env.LogValue(cfg)); strings.Contains(s, "canary") {
		t.Errorf("a secret is shown: %s", s)
	}
}
