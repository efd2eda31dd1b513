-- Under which leader of the partition the records below next_offset were read: not lower than the leader epoch of any of
-- them, -1 where it is not known. By it the next owner asks whether the log still has them.
alter table :"schema".fence add column leader_epoch int not null default -1;

insert into :"schema".schema_migration (version, name) values (8, 'leader_epoch');
