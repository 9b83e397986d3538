-- Logging in without sending the password (SCRAM-SHA-256). The keys are made together with the hash,
-- whenever a password is set; an account from before this version has none until then.

ALTER TABLE mailbox ADD COLUMN scram_salt       BLOB;
ALTER TABLE mailbox ADD COLUMN scram_iterations INTEGER;
ALTER TABLE mailbox ADD COLUMN scram_stored_key BLOB;    -- 32 octets
ALTER TABLE mailbox ADD COLUMN scram_server_key BLOB;    -- 32 octets

-- 32 random octets, made by the program at this step: the salts of users that do not exist come from
-- it, so that they are the same each time one asks.
ALTER TABLE meta ADD COLUMN login_secret BLOB;
