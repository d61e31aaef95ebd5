-- +goose Up
alter table visits add column note text not null default '';

-- +goose Down
alter table visits drop column note;
