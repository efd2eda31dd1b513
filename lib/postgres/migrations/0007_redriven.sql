-- Records that were put back, or had been dealt with when somebody wanted to put them back: a dead-letter topic keeps its
-- letters whatever became of them, and may keep them longer than the ledger keeps executions. By what died, and not by
-- the letter: a crash may have had a letter produced twice. The timestamp tells topics of one name apart.
create table :"schema".redriven (
  redriven_at timestamptz not null default clock_timestamp(),
  record_offset bigint not null,
  record_timestamp bigint not null,
  scope_id int not null,
  partition int not null,
  topic text not null,
  constraint redriven_pkey primary key (scope_id, topic, partition, record_offset, record_timestamp)
);

-- Letters say their record's place, and not always its key as it is stored.
create index dead_letter_record_idx on :"schema".dead_letter (scope_id, topic, partition, record_offset);

insert into :"schema".schema_migration (version, name) values (7, 'redriven');
