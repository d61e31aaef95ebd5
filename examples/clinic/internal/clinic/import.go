package clinic

import (
	"context"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/pgpool"
)

// MaxImport is how many patients one file may hold.
const MaxImport = 100_000

var columns = []string{"name", "email", "born"}

// Import reads patients from CSV with the header name,email,born and adds them
// all, or none: the error names the line at fault (a *ProblemError). progress
// may be nil; it is called now and then.
func (s *Service) Import(ctx context.Context, r io.Reader, progress func(done, total int)) (int64, error) {
	rows, err := ParseCSV(r)
	if err != nil {
		return 0, err
	}
	opts := []pgpool.BatchOption{}
	if progress != nil {
		opts = append(opts, pgpool.WithProgress(progress))
	}
	// In a transaction, so that a server that restarts meanwhile is waited for and
	// asked what became of it, instead of leaving the caller to guess.
	n, err := pgpool.Transaction(ctx, s.db, func(ctx context.Context, tx pgx.Tx) (int64, error) {
		return pgpool.BatchInsert(ctx, tx, "patients", rows, opts...)
	})
	if pgpool.IsUniqueViolation(err) {
		return 0, s.duplicate(ctx, rows)
	}
	if row, ok := errors.AsType[*pgpool.RowError](err); ok {
		return 0, &ProblemError{Line: rows[row.Row].line, Field: row.Column, Problem: "cannot be stored"}
	}
	return n, err
}

// duplicate finds the first row whose email is in the database already.
func (s *Service) duplicate(ctx context.Context, rows []NewPatient) error {
	emails := make([]string, len(rows))
	for i, row := range rows {
		emails[i] = row.Email
	}
	taken, err := pgpool.Select[string](ctx, s.db, "select email from patients where email = any($1)", emails)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if slices.Contains(taken, row.Email) {
			return &ProblemError{Line: row.line, Field: "email", Problem: "a patient with this email exists"}
		}
	}
	return ErrExists
}

// ParseCSV reads the file of an import. Line numbers in errors count the header,
// which is line 1.
func ParseCSV(r io.Reader) ([]NewPatient, error) {
	file := csv.NewReader(r)
	file.FieldsPerRecord = len(columns)
	file.ReuseRecord = true
	header, err := file.Read()
	if err != nil || !strings.EqualFold(strings.Join(header, ","), strings.Join(columns, ",")) {
		return nil, &ProblemError{Line: 1, Problem: "must be the header " + strings.Join(columns, ",")}
	}
	var rows []NewPatient
	seen := map[string]int{}
	for {
		record, err := file.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, csvProblem(err)
		}
		line, _ := file.FieldPos(0)
		row, err := ParsePatient(record[0], record[1], record[2])
		row.line = line
		if problem, ok := errors.AsType[*ProblemError](err); ok {
			problem.Line = line
			return nil, problem
		}
		if first, ok := seen[row.Email]; ok {
			return nil, &ProblemError{Line: line, Field: "email", Problem: "is the same as on line " + itoa(first)}
		}
		seen[row.Email] = line
		if rows = append(rows, row); len(rows) > MaxImport {
			return nil, &ProblemError{Line: line, Problem: "there may be " + itoa(MaxImport) + " patients in a file at most"}
		}
	}
	if len(rows) == 0 {
		return nil, &ProblemError{Line: 1, Problem: "is the header, and no patient follows it"}
	}
	return rows, nil
}

// csvProblem says what is wrong with the file's form.
func csvProblem(err error) error {
	parse, ok := errors.AsType[*csv.ParseError](err)
	if !ok {
		return err // of the network, not of the file
	}
	problem := "is no CSV: " + parse.Err.Error()
	if errors.Is(parse.Err, csv.ErrFieldCount) {
		problem = "must have " + itoa(len(columns)) + " fields"
	}
	return &ProblemError{Line: parse.Line, Problem: problem}
}
