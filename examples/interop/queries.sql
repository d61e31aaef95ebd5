-- name: AddPatient :one
insert into patients (name, email) values ($1, $2) returning *;

-- name: PatientByEmail :one
select * from patients where email = $1;

-- name: Patients :many
select * from patients order by id;

-- name: AddVisit :exec
insert into visits (patient, reason) values ($1, $2);

-- name: CountVisits :one
select count(*) from visits where patient = $1;

-- name: ImportPatients :copyfrom
insert into patients (name, email) values ($1, $2);

-- name: RenamePatients :batchexec
update patients set name = $2 where id = $1;
