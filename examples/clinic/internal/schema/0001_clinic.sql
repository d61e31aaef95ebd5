create table users (
	name     text primary key,
	password text not null -- pbkdf2, see package clinic
);

create table patients (
	id         bigint generated always as identity primary key,
	name       text not null check (name <> ''),
	email      text not null unique,
	born       date not null,
	last_visit timestamptz
);

create table appointments (
	id         bigint generated always as identity primary key,
	doctor     text        not null,
	starts_at  timestamptz not null,
	patient_id bigint      not null references patients (id),
	booked_by  text        not null,
	-- The constraint, and not the code, is what keeps a slot from being booked twice.
	unique (doctor, starts_at)
);
create index appointments_patient on appointments (patient_id);
create index appointments_day on appointments (starts_at);
