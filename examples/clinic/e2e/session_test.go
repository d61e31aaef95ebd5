package e2e_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestPages uses the clinic as its people do.
func TestPages(t *testing.T) {
	c := startClinic(t)
	b := window(t)
	b.do(chromedp.Navigate(c.URL))
	if got, want := b.title(), "Log in – Pedro clinic"; got != want {
		t.Fatalf("without a login the title is %q, want %q", got, want)
	}
	b.clean("login")
	b.screenshot("clinic-login")
	b.login(c.URL)
	b.do(chromedp.Navigate(c.URL+"/patients"),
		chromedp.SendKeys(`.stack input[name=name]`, "Ada Lovelace", chromedp.ByQuery),
		chromedp.SendKeys(`.stack input[name=email]`, "ada@example.com", chromedp.ByQuery),
		chromedp.SetValue(`.stack input[name=born]`, "1990-12-10", chromedp.ByQuery))
	b.submit(`form[action="/patients"][method=post] button`)
	if text := b.text(); !strings.Contains(text, "Added.") {
		t.Errorf("after adding a patient:\n%s", text)
	}
	b.clean("patient")
	b.screenshot("clinic-patient")
	b.do(chromedp.Navigate(c.URL + "/?day=2031-05-05"))
	b.submit(`form[action="/appointments"] button`)
	if text := b.text(); !strings.Contains(text, "Booked Dr. Alvarez at 08:00.") || !strings.Contains(text, "Ada Lovelace") {
		t.Errorf("after booking:\n%s", text)
	}
	b.clean("day")
	b.screenshot("clinic-day")
	b.dark(true)
	b.clean("day, dark")
	b.screenshot("clinic-day-dark")
	b.do(chromedp.Navigate(c.URL + "/patients"))
	b.clean("patients")
	b.screenshot("clinic-patients")
	b.do(chromedp.Navigate(c.URL + "/account"))
	b.clean("account")
	b.screenshot("clinic-account")
}

// TestTwoDevices lists the sessions of two devices and ends one from the other.
func TestTwoDevices(t *testing.T) {
	c := startClinic(t)
	phone, laptop := window(t), window(t)
	phone.login(c.URL)
	laptop.login(c.URL)
	laptop.do(chromedp.Navigate(c.URL + "/account"))
	var rows int
	laptop.do(chromedp.Evaluate(`document.querySelectorAll("tbody tr").length`, &rows))
	if rows != 2 {
		t.Fatalf("%d sessions are listed, want 2:\n%s", rows, laptop.text())
	}
	laptop.submit(`form[action="/account/sessions/revoke"] button`)
	if text := laptop.text(); !strings.Contains(text, "That session has ended.") {
		t.Errorf("after the end of the other session:\n%s", text)
	}
	phone.do(chromedp.Navigate(c.URL))
	if got, want := phone.title(), "Log in – Pedro clinic"; got != want {
		t.Errorf("the other device sees %q, want %q", got, want)
	}
	laptop.do(chromedp.Navigate(c.URL))
	if got, want := laptop.title(), "Appointments – Pedro clinic"; got != want {
		t.Errorf("this device sees %q, want %q", got, want)
	}
}

func TestIdleExpiry(t *testing.T) {
	c := startClinic(t, "SESSION_IDLE_TIMEOUT=8s", "SESSION_TOUCH_EVERY=500ms")
	b := window(t)
	b.login(c.URL)
	for range 5 { // ten seconds of activity keep it alive
		time.Sleep(2 * time.Second)
		b.do(chromedp.Navigate(c.URL))
		if got, want := b.title(), "Appointments – Pedro clinic"; got != want {
			t.Fatalf("while it is used the title is %q, want %q", got, want)
		}
	}
	time.Sleep(9 * time.Second)
	b.do(chromedp.Navigate(c.URL))
	if got, want := b.title(), "Log in – Pedro clinic"; got != want {
		t.Errorf("after the idle time the title is %q, want %q", got, want)
	}
}

// TestRegenerationWhileTabsReload: the session gets a new ID every two seconds, while
// four tabs reload in parallel. Nobody is logged out.
func TestRegenerationWhileTabsReload(t *testing.T) {
	c := startClinic(t, "SESSION_REGENERATE_EVERY=2s", "SESSION_REGENERATE_GRACE=2s")
	b := window(t)
	b.login(c.URL)
	cookie := func() (value string) {
		b.do(chromedp.ActionFunc(sessionCookie(&value)))
		return value
	}
	before := cookie()
	var wg sync.WaitGroup
	for range 4 {
		tab := b.tab()
		wg.Go(func() {
			for end := time.Now().Add(8 * time.Second); time.Now().Before(end); {
				var title string
				if err := tab.try(chromedp.Navigate(c.URL), chromedp.Title(&title)); err != nil {
					t.Error(err)
					return
				}
				if want := "Appointments – Pedro clinic"; title != want {
					t.Errorf("a tab sees %q, want %q", title, want)
					return
				}
			}
		})
	}
	wg.Wait()
	if after := cookie(); after == before || after == "" {
		t.Errorf("the cookie is %q after %q, want another one", after, before)
	}
}
