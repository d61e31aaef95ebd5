package clinic_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pedro-go/pedro/examples/clinic/internal/clinic"
)

// FuzzParseCSV: whatever the file is, the outcome is patients that can be
// stored, or a mistake with its line.
func FuzzParseCSV(f *testing.F) {
	for _, seed := range []string{
		"name,email,born\nAda,ada@example.com,1990-12-10\n", "name,email,born\n", "", "\xff\xfe", "name,email,born\n\"\"\"\n", "NAME,Email,born\r\na,b@c.d,2000-01-01\r\n",
		"name,email,born\n\x00,a@b.c,1990-01-01", "name,email,born\n\"a\nb\",a@b.c,1990-01-01\n,,\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, file string) {
		rows, err := clinic.ParseCSV(strings.NewReader(file))
		if err != nil {
			problem, ok := errors.AsType[*clinic.ProblemError](err)
			if !ok || problem.Line < 1 || problem.Line > 1+strings.Count(file, "\n")+strings.Count(file, "\r") || rows != nil {
				t.Errorf("error %v, want a problem with a line of the file, and no rows", err)
			}
			return
		}
		for _, row := range rows {
			if !utf8.ValidString(row.Name+row.Email) || strings.ContainsRune(row.Name+row.Email, 0) || row.Name == "" || !strings.Contains(row.Email, "@") {
				t.Errorf("accepted %+v", row)
			}
		}
	})
}
