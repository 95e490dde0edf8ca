#!/usr/bin/env perl

=head1 NAME

s3_table.t - scenario 3: a table that many edit at once

=head1 WHAT BREAKS

Somebody's change is overwritten in silence, or lost although it was confirmed;
two people see different tables; what was edited in the train overwrites the
work of the others; a page that was open over night shows what is not there any
more.

=head1 THE CONFIGURATION

A table is a channel, its rows, fields and views are records; who is there is
presence; cursors and selections are signals.

    fanout_channel app table:* history=1000 ttl=24h records=old
                       presence=on linger=5s;
    fanout_channel app user:*  history=100 ttl=24h;

NGINX has three workers.

=head1 THE LINES

Each line of the scenario's table is a subtest, named after it. The last one
has 20 clients who edit 500 records for a minute (SECONDS=n: for so long) while
connections are cut, workers are killed and the configuration is loaded again.
SEED=n repeats its choices.

=cut

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Fanout::Elapsed qw( time );
use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Table;


my $seed    = $ENV{SEED} // int(time * 1000) % 2 ** 31;
my $seconds = $ENV{SECONDS} // ($ENV{TEST_SANITIZE} ? 20 : 60);

srand $seed;
diag("SEED=$seed");

my $nginx = Fanout::Nginx->start(
    workers => 3,
    level   => 'warn',
    http    => <<'END',
        fanout_zone app 64m keys=2%-40% address=100% user=100%;
        fanout_rate off; fanout_budget off;
        fanout_channel app table:many history=200000 records=on;
        fanout_channel app table:brief history=100 ttl=1s records=old;
        fanout_channel app table:short history=100 ttl=1s records=on
                           presence=on expire=1s;
        fanout_channel app table:* history=1000 ttl=24h records=old
                           presence=on linger=5s;
        fanout_channel app user:*  history=100 ttl=24h;
END
    server => <<'END',
        location /rt {
            fanout app;
            fanout_user $arg_user;
            fanout_permit all *;
            fanout_resume 1m;
            fanout_drain 1s;
            fanout_buffer 2m;
        }
        location /reader {
            fanout app;
            fanout_user $arg_user;
            fanout_permit join table:*;
        }
        location /slow {
            fanout app;
            fanout_permit all *;
            fanout_rate 5r/s burst=5;
        }
        location /fanout/ { fanout_api app; }
        location /api/v1/sync/ { fanout_api app style=sync; }
END
);

my $http = $nginx->http;

sub table { Fanout::Table->new($nginx, @_) }

sub native {
    my ($user, %o) = @_;

    return $nginx->native(path => "/rt?user=$user", %o);
}

# all take what comes until it is true

sub settle {
    my ($who, $condition, $timeout) = @_;

    return wait_for(sub {
        $_->pump for @$who;
        return $condition->();
    }, $timeout // 20);
}

sub no_faults {
    is_deeply([ map { $_->faults } @_ ], [], 'nobody was told what can\'t be');
}

# all records of a channel, as the API says

sub server_records {
    my ($channel) = @_;

    my ($cursor, %all) = ('');

    for (1 .. 1000) {
        my $r = $http->get("/fanout/channels/$channel/records?limit=200"
                           . ($cursor && "&cursor=$cursor"))->json;

        %all = (%all, %{ $r->{records} });
        $cursor = $r->{cursor} or last;
    }

    return \%all;
}

sub same {
    my ($name, $channel, @who) = @_;

    my $all  = server_records($channel);
    my $text = Fanout::JSON::encode($all);

    my @other = grep { Fanout::JSON::encode($_->records) ne $text } @who;

    is(scalar @other, 0, $name) or do {
        my $mine = $other[0]->records;

        diag("$_: " . Fanout::JSON::encode([ $mine->{$_}, $all->{$_} ]))
            for grep { Fanout::JSON::encode([ $mine->{$_} ])
                       ne Fanout::JSON::encode([ $all->{$_} ]) }
                (sort keys %{ { %$mine, %$all } })[0 .. 9];
    };
}


subtest 'line 1: the vocabulary of the application' => sub {
    my ($one, $two) = $nginx->worker_pids;
    my $ann = native('ann', worker => $one);
    my $bob = native('bob', worker => $two);

    is($ann->welcome->{user}, 'ann', 'authenticate');
    ok($_->ok('join', channel => 'table:1', presence => {},
              want => [qw( messages signals presence records )]),
       'subscribe_to_table') for $ann, $bob;

    $ann->ok('signal', channel => 'table:1', event => 'cursor_position',
             data => { recordId => 'r1', fieldId => 'f1' });
    is($bob->next_where(sub { $_[0]{signal} })->{data}{recordId}, 'r1',
       'cursor_position');

    $ann->ok('signal', channel => 'table:1', event => 'selection',
             data => { recordIds => [ 'r1', 'r2' ] });
    is($bob->next_where(sub { ($_[0]{signal} // '') eq 'selection' })
           ->{from}{user}, 'ann', 'selection');

    $ann->ok('set', channel => 'table:1', record => 'r1', base => 0,
             set => { name => 'Widget' });
    is($bob->next_where(sub { $_[0]{record} })->{set}{name}, 'Widget',
       'record_change');

    my @replies = $bob->batch(
        map { { op => 'set', channel => 'table:1', record => "r$_", base => 0,
                key => "offline-$_", set => { n => $_ } } } 2 .. 4
    );
    is(scalar(grep { $_->{ok} } @replies), 3, 'sync_offline_changes');

    my $resume = $bob->resume;
    my $client = $bob->client;

    $bob->cut;
    $bob = native('bob', resume => $resume);
    ok($bob->welcome->{resumed} && $bob->client eq $client,
       'recover_connection');
    ok($ann->ok('ping')->{time}, 'heartbeat');
};


subtest 'line 2: records, fields, tables, views, bases; batches' => sub {
    my $ann = native('ann');
    my @kinds = map { { op => 'set', channel => 'table:2', record => "$_:1",
                        set => { name => $_ } } }
                qw( record field table view base );

    is(scalar(grep { $_->{ok} } $ann->batch(@kinds)), 5, 'a batch of each');
    is_deeply([ sort keys %{ $ann->ok('get', channel => 'table:2',
                                      prefix => 'view:')->{records} } ],
              [ 'view:1' ], 'those of a kind');
    is(scalar keys %{ server_records('table:2') }, 5, 'all of them');
};


subtest 'line 3: conflicts, a merge of fields, the last writer, a rollback' =>
sub {
    my ($ann, $bob) = map { table('table:3', $_) } qw( ann bob );

    $ann->set('r1', { name => 'Widget', price => 3 });
    ok(settle([ $ann, $bob ], sub { $ann->idle && $bob->version('r1') == 1 }),
       'both see version 1');

    # at the same time

    $ann->set('r1', { name => 'Gadget' });
    $bob->set('r1', { price => 4 });
    ok(settle([ $ann, $bob ], sub { $ann->idle && $bob->idle }), 'two fields');
    ok(settle([ $ann, $bob ], sub {
        $ann->version('r1') == 3 && $bob->version('r1') == 3
    }), 'two versions');
    is_deeply($bob->records->{r1}{fields}, { name => 'Gadget', price => 4 },
              'are merged');

    $ann->set('r1', { price => 5 });
    $bob->set('r1', { price => 6, size => 'L' });
    ok(settle([ $ann, $bob ], sub { $ann->idle && $bob->idle }), 'one field');

    # who comes second is told; of ann's change nothing is left then

    my ($early) = $ann->conflicts;
    my $told = $early ? $early->{error}{data}{rejected}{price}
                      : ($bob->acked)[-1]{ok}{rejected}{price};

    is($told->{value}, $early ? 6 : 5, 'one is told the value of the other');
    is($told->{user}, $early ? 'bob' : 'ann', 'and whose it is');

    # all or nothing: what was shown goes back

    my $base = $bob->version('r1');

    $ann->set('r1', { name => 'Thing' });
    ok(settle([ $ann ], sub { $ann->idle }), 'a change');
    $bob->change({ op => 'set', record => 'r1', mode => 'reject',
                   base => $base, set => { name => 'Other', note => 'x' } });
    is($bob->shown('r1')->{note}, 'x', 'is shown at once');
    ok(settle([ $ann, $bob ], sub {
        $bob->idle && $bob->conflicts == 1
        && $bob->version('r1') == $ann->version('r1')
    }), 'is rejected');
    is($bob->shown('r1')->{note}, undef, 'and rolled back');
    is($bob->shown('r1')->{name}, 'Thing', 'to what the other one wrote');

    $bob->set('r1', { name => 'Last' }, mode => 'overwrite');
    ok(settle([ $ann, $bob ], sub {
        $bob->idle && $ann->shown('r1')->{name} eq 'Last'
    }), 'the last writer wins if that is asked for');
    no_faults($ann, $bob);
};


subtest 'line 4: who is where' => sub {
    my $ann = native('ann');
    my $bob = native('bob');
    my $see = sub {
        my ($kind) = @_;
        return $ann->next_where(sub {
            $_[0]{presence} && $_[0]{presence}{$kind}
        })->{presence}{$kind}[0];
    };

    $ann->ok('join', channel => 'table:4', presence => { view => 'grid' });

    my $all = $bob->ok('join', channel => 'table:4',
                       presence => { view => 'kanban' })->{members};

    my %slot = map { $_->{user} => $_->{slot} } @$all;

    is(scalar keys %{ { reverse %slot } }, 2, 'a colour for each');

    my $joined = $see->('joined');

    is($joined->{user}, 'bob', 'user_joined');
    ok($joined->{seen} && $joined->{joined_at}, 'last seen');

    $bob->ok('presence', channel => 'table:4',
             data => { view => 'grid', cursor => [ 'r1', 'name' ] });
    is_deeply($see->('updated')->{data}{cursor}, [ 'r1', 'name' ],
              'where the cursor is');

    $bob->close(1000);
    is($see->('left')->{user}, 'bob', 'user_left');
};


subtest 'line 5: what was missed' => sub {
    my $ann = native('ann');
    my $bob = native('bob');
    my $at  = $bob->ok('join', channel => 'table:5', history => 50);

    $bob->cut;

    $ann->ok('set', channel => 'table:5', record => "r$_", set => { n => $_ })
        for 1 .. 60;

    $bob = native('bob');

    my $back = $bob->ok('join', channel => 'table:5',
                        since => { epoch  => $at->{epoch},
                                   offset => $at->{offset} });

    ok($back->{recovered}, 'since the last event id');
    is($back->{missed}, 60, 'their count');
    is_deeply([ map { $_->{record} } @{ $back->{messages} } ],
              [ map { "r$_" } 1 .. 60 ], 'all, in order');

    my $new = native('new')->ok('join', channel => 'table:5', history => 50);

    is(scalar @{ $new->{messages} }, 50, 'the 50 recent ones on joining');

    # too old

    my $old = $bob->ok('join', channel => 'table:brief');

    $bob->cut;
    $ann->ok('set', channel => 'table:brief', record => "r$_",
             set => { n => $_ }) for 1 .. 3;
    ok(wait_for(sub {
        !@{ $ann->ok('history', channel => 'table:brief')->{messages} }
    }), 'changes are kept for their time');

    $bob = native('bob');
    $back = $bob->ok('join', channel => 'table:brief',
                     since => { epoch  => $old->{epoch},
                                offset => $old->{offset} });
    ok(!$back->{recovered}, 'what is too old is told');
    is(scalar keys %{ $back->{records} }, 3, 'with the records as they are');
};


subtest 'line 6: values before, create and delete' => sub {
    my $ann = native('ann');
    my $bob = native('bob');

    $bob->ok('join', channel => 'table:6');

    my $next = sub { $bob->next_where(sub { $_[0]{record} }) };

    $ann->ok('set', channel => 'table:6', record => 'r1', set => { n => 1 });
    ok($next->()->{created}, 'created');

    $ann->ok('set', channel => 'table:6', record => 'r1', set => { n => 2 });

    my $change = $next->();

    is($change->{old}{n}, 1, 'the value before');
    is($change->{set}{n}, 2, 'and after');

    $ann->ok('delete', channel => 'table:6', record => 'r1');
    $change = $next->();
    ok($change->{deleted} && $change->{old}{n} == 2,
       'deleted, with what was there');
    is($change->{from}{user}, 'ann', 'by whom');
};


subtest 'lines 7 and 8: changes offline' => sub {
    my $server = $http->post(
        '/fanout/channels/user:bob/messages?event=offline_change',
        '{"record":"r1","set":{"n":1}}');

    is($server->{status}, 201, 'kept at the server for a user')
        or diag($server->{body});

    my $bob = native('bob');

    is($bob->ok('join', channel => 'user:bob', history => 10)
           ->{messages}[0]{event}, 'offline_change', 'who comes later');

    my ($ann, $cid) = map { table('table:8', $_) } qw( ann cid );

    $ann->set("r$_", { a => 0, b => 0 }) for 1 .. 3;
    ok(settle([ $ann, $cid ], sub { $ann->idle && $cid->version('r3') }),
       'both are there');

    $cid->away;
    $cid->set('r1', { a => 'cid' });
    $cid->set('r1', { b => 'cid' });
    $cid->set('r2', { a => 'cid' });
    $cid->set('r4', { a => 'cid' });
    is($cid->shown('r1')->{b}, 'cid', 'shown while offline');

    $ann->set('r2', { a => 'ann' });
    ok(settle([ $ann ], sub { $ann->idle }), 'another one goes on');

    $cid->back;
    ok(settle([ $ann, $cid ], sub { $cid->idle }), 'it is online again');
    is_deeply([ map { $_->{record} } $cid->acked ], [qw( r1 r1 r4 )],
              'changes are applied in order');
    is_deeply([ map { $_->{record} } $cid->conflicts ], ['r2'],
              'a conflict is reported');

    my $rejected = ($cid->conflicts)[0]{error}{data}{rejected}{a};

    is($rejected->{value}, 'ann', 'with the value');
    is($rejected->{user}, 'ann', 'and whose it is');
    ok(settle([ $ann, $cid ], sub {
        $ann->version('r4') && $cid->version('r2') == $ann->version('r2')
    }), 'all came');
    same('both see the same', 'table:8', $ann, $cid);
    no_faults($ann, $cid);
};


subtest 'line 9: the requests of the synchronization service' => sub {
    my $ann   = table('table:9', 'ann');
    my $batch = $http->post('/api/v1/sync/batch-changes', Fanout::JSON::encode({
        changes => [ map { {
            type => 'create', entityType => 'record', entityId => "r$_",
            tableId => '9', baseId => 'b', userId => 'bob',
            changes => [ { fieldId => 'n', newValue => $_ } ],
        } } 1 .. 3 ],
    }));

    is($batch->json->{data}{processed}, 3, 'batch-changes');
    ok(settle([ $ann ], sub { $ann->version('r3') }), 'are told');
    is($ann->records->{r3}{fields}{n}, 3, 'as they are');

    my $stats = $http->get('/api/v1/sync/stats')->json;

    ok($stats->{success} && $stats->{data}{totalConnections} >= 1, 'stats');
    ok($http->post('/api/v1/sync/cleanup')->json->{success}, 'cleanup');
};


subtest 'line 10: what is old goes' => sub {
    my $ann = native('ann');
    my $bob = native('bob');

    $ann->ok('join', channel => 'table:short');
    $bob->ok('join', channel => 'table:short', presence => {});
    $ann->ok('set', channel => 'table:short', record => 'r1',
             set => { n => 1 });

    my $left = $ann->next_where(sub { ($_[0]{presence} || {})->{left} }, 20);

    is($left->{presence}{left}[0]{reason}, 'timeout', 'who shows nothing');
    ok(wait_for(sub {
        !@{ $ann->ok('history', channel => 'table:short')->{messages} }
    }), 'changes');
    ok($ann->ok('get', channel => 'table:short', record => 'r1')->{records}{r1},
       'no records');
};


subtest 'line 11: who may' => sub {
    my $reader = $nginx->native(path => '/reader?user=eve');

    ok($reader->ok('join', channel => 'table:6'), 'may read a table');
    is($reader->cmd('set', channel => 'table:6', record => 'r1',
                    set => { n => 1 })->{error}{code}, 'forbidden',
       'not write it');
    is($reader->cmd('join', channel => 'user:bob')->{error}{code}, 'forbidden',
       'nor read another one');

    my $slow  = $nginx->native(path => '/slow');
    my @codes = map { ($_->{error} || {})->{code} // 'ok' }
                map { $slow->cmd('set', channel => 'table:11', record => 'r',
                                 set => { n => $_ }) } 1 .. 20;

    ok((grep { $_ eq 'rate_limited' } @codes), 'a rate limit');
    is($codes[0], 'ok', 'within which all is well');
};


subtest 'line 12: only what has changed' => sub {
    my $ann = native('ann');
    my $bob = native('bob', deflate => 1);
    my $big = 'lorem ipsum ' x 400;

    $ann->ok('set', channel => 'table:12', record => 'r1',
             set => { text => $big, n => 1 });
    $bob->ok('join', channel => 'table:12', want => ['records']);

    $ann->ok('set', channel => 'table:12', record => 'r1', set => { n => 2 });

    my $change = $bob->next_where(sub { $_[0]{record} });

    is_deeply([ sort keys %{ $change->{set} } ], ['n'], 'a field');
    ok(length Fanout::JSON::encode($change) < 300, 'is a small message');
};


# the minute

subtest "the table of many: $seconds s" => sub {
    my @ids   = map { "r$_" } 1 .. 500;
    my @who   = map { table('table:many', "user$_") } 1 .. 20;
    my $end   = time + $seconds;
    my $chaos = time + 2;
    my ($edits, $cuts, $kills, $reloads, $n) = (0, 0, 0, 0, 0);

    $who[0]->set($_, { map { $_ => 0 } 'a' .. 'e' }) for @ids;
    ok(settle(\@who, sub { $who[0]->idle }), '500 records');

    my $edit = sub {
        my ($c) = @_;

        my $id = $ids[rand() < 0.5 ? rand 20 : rand @ids];
        my $at = rand;
        my $field = ('a' .. 'e')[rand 5];
        my $value = $c->{user} . '-' . ++$n;

        $edits++;

        return $c->delete($id) if $at < 0.03;
        return $c->set($id, {}, unset => [$field]) if $at < 0.08;
        return $c->set($id, {}, append => { list => [$n] }) if $at < 0.12;
        return $c->set($id, { $field => $value }, mode => 'reject')
            if $at < 0.4;
        return $c->set($id, { map { $_ => "$value$_" } 'a' .. 'c' })
            if $at < 0.6;
        return $c->set($id, { $field => $value });
    };

    while (time < $end) {
        for my $c (@who) {
            $c->pump;

            if ($c->{away}) {
                $edit->($c) if rand() < 0.3 && @{ $c->{queue} } < 40;
                $c->back if rand() < 0.04;
                next;
            }

            $edit->($c) if @{ $c->{queue} } < 40 && rand() < 0.3;

            if (rand() < 0.01) {
                $cuts++;
                rand() < 0.5 ? $c->cut : $c->away;
            }
        }

        next if time < $chaos;

        $chaos = time + 3;

        if (rand() < 0.7) {
            my @pids = $nginx->worker_pids;

            $kills++;
            $nginx->kill_worker($pids[rand @pids]);

        } else {
            $reloads++;
            $nginx->reload;
        }
    }

    diag("$edits changes, $cuts cuts, $kills workers killed, "
         . "$reloads reloads");

    # a worker that still drains when NGINX is stopped would leave sockets open

    ok(wait_for(sub { !$nginx->stopping_pids }, 20), 'old workers are gone');

    # what had no answer is sent again by who comes back

    $_->cut for grep { !$_->{away} } @who;
    $_->back for @who;

    ok(settle(\@who, sub { !grep { !$_->idle } @who }, 60),
       'every change has an answer')
        or diag(map { $_->state . "\n" } grep { !$_->idle } @who);

    # behind all that was said

    $who[0]->set('end', { end => 1 }, mode => 'overwrite');
    ok(settle(\@who, sub { !grep { !$_->version('end') } @who }, 60),
       'all have heard all');

    same('all see what the server has', 'table:many', @who);
    no_faults(@who);

    check_log(@who);
};


# What was told of the channel is all that happened: what was confirmed is in
# there, and nothing was overwritten that its author had not seen.

sub check_log {
    my (@who) = @_;

    my $api = native('auditor');
    my @log;

    my $since = { epoch => $who[0]{epoch}, offset => 0 };

    for (1 .. 10_000) {
        my $r = $api->cmd('history', channel => 'table:many', limit => 500,
                          since => $since);

        push @log, map { @{ $_->{messages} || [] } }
                   @{ $r->{part} || [] }, $r->{ok};
        $since->{offset} = $r->{ok}{next} or last;
    }

    my (%at, %versions, %fold, @odd);

    for my $e (@log) {
        my $id = $e->{record} // next;

        my $last = $versions{$id} ? $versions{$id}[-1]{version} : 0;

        push @odd, "$id: $e->{version} after $last" if $e->{version} <= $last;

        push @{ $versions{$id} }, $e;
        $at{ $e->{offset} } = $e;
        Fanout::Table::entry({ records => \%fold, gone => {} }, $e);
    }

    is_deeply(\@odd, [], 'versions grow');

    same('the log adds up to the records', 'table:many',
         bless { records => \%fold }, 'Fanout::Table');

    my (@lost, @silent, @untrue);
    my ($acked, $rejected) = (0, 0);

    for my $change (map { $_->acked } @who) {
        my $ok = $change->{ok};
        my $id = $change->{record};

        $acked++;
        next if $ok->{unchanged};

        my $e = $at{ $ok->{offset} };

        if (!$e || $e->{record} ne $id || $e->{version} != $ok->{version}) {
            push @lost, $change->{key};
            next;
        }

        next if !defined $change->{base} || $change->{op} eq 'delete';

        # by others, between what its author had seen and this; who has seen
        # no record has missed nothing of one that was deleted

        my %between;

        for my $v (@{ $versions{$id} }) {
            next if $v->{version} <= $change->{base}
                    || $v->{version} > $e->{version};

            %between = () if $v->{created} && !$change->{base};
            next if $v == $e;

            $between{$_} = $v
                for keys %{ $v->{set} || {} }, @{ $v->{unset} || [] };
        }

        push @silent, "$change->{key}: $_"
            for grep { $between{$_} }
                keys %{ $e->{set} || {} }, @{ $e->{unset} || [] };

        for my $f (keys %{ $ok->{rejected} || {} }) {
            $rejected++;
            push @untrue, "$change->{key}: $f" if !$between{$f};
        }
    }

    is_deeply(\@lost, [], 'no confirmed change is missing');
    is_deeply(\@silent, [], 'nothing was overwritten unseen');
    is_deeply(\@untrue, [], 'who was told of a conflict had one');
    my $conflicts = map { $_->conflicts } @who;

    diag("$acked changes confirmed, $rejected fields rejected, "
         . "$conflicts conflicts");
    ok($rejected && $conflicts > 10, 'there were conflicts');
}

done_testing();
