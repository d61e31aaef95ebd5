-- +goose Up
create table patients (
	id bigint generated always as identity primary key,
	name text not null,
	email text unique,
	born date
);
create table visits (
	id bigint generated always as identity primary key,
	patient bigint not null references patients (id),
	reason text not null
);

-- +goose Down
drop table visits;
drop table patients;
