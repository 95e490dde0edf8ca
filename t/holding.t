#!/usr/bin/env perl

# What the clients of one address may hold: if this fails, those of one that
# joins many channels, is many members, or makes many records or locks, keep all
# others out for as long as they stay, within all limits of rates.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_rate off;
        fanout_budget off;
        fanout_zone app 3m sessions=5%-10% members=5%-20%;
        fanout_zone all 3m sessions=5%-10% members=5%-20% address=100%;
        fanout_channel app room:* presence=on;
        fanout_channel all room:* presence=on;
        fanout_zone many 3m channels=5%-10%;
        fanout_zone kept 16m records=1%;
        fanout_channel kept table:* records=on locks=1m locks_max=10000;
        fanout_channels_per_session 1000;
END
    server => <<'END',
        location /rt { fanout app; fanout_user $arg_user; fanout_permit all room:*; }
        location /all { fanout all; fanout_user $arg_user; fanout_permit all room:*; }
        location /many { fanout many; fanout_permit all room:*; }
        location /kept { fanout kept; fanout_permit all table:*; }
        location = /status { fanout_status app; }
        location = /many-status { fanout_status many; }
        location = /kept-status { fanout_status kept; }
        location /api { fanout_api kept; }
END
);

my @mallory = (local => '127.0.0.2');

sub share { $nginx->http->get('/status')->json->{zone}{shares}{$_[0]} }
sub code  { $_[0]{error} ? $_[0]{error}{code} : 'ok' }

# sessions until one can't join any more: they, and the last reply

sub fill {
    my ($path, @from) = @_;

    my (@held, $r);

    while (@held < 200) {
        push @held, $nginx->native(path => $path, @from);

        for (1 .. 48) {
            $r = $held[-1]->cmd('join', channel => "room:$_");
            return (\@held, $r) if $r->{error};
        }
    }

    return (\@held, $r);
}


subtest 'seats' => sub {
    my ($held, $r) = fill('/rt', @mallory);

    is(code($r), 'too_many', 'who holds half of what there is joins no more');
    is($r->{error}{data}{limit}, 'address', 'for its address');
    is($r->{error}{data}{max}, 50, 'may have that much');
    like($r->{error}{message}, qr/fanout_zone address=/, 'as it says');

    my $seats = share('sessions');

    is($seats->{refused}, 0, 'the share is not at its end');

    my $http = $nginx->http(@mallory);

    my $poll = $http->get('/rt?poll=1&timeout=0&session=1&channel=room:1',
                          headers => { 'X-Requested-With' => 'test' });

    is($poll->{status}, 429, 'a poll is refused as well') or diag($poll->{body});

    my $ws = $nginx->native(path => '/rt?user=ann');

    is(code($ws->cmd('join', channel => "room:$_")), 'ok', 'another joins')
        for 1 .. 20;

    ok($nginx->http->get('/status')->json->{counters}{address_held} > 1,
       'address_held counts');

    # what it gives back it can have again

    $held->[0]->ok('leave', channel => "room:$_") for 1 .. 40;
    is(code($held->[-1]->cmd('join', channel => 'room:51')), 'ok',
       'who leaves may join');
    $_->close for @$held;
};


subtest 'members' => sub {
    my $ws  = $nginx->native(path => '/rt', @mallory);
    my $pad = 'x' x 4000;
    my ($n, $r) = (0);

    $ws->ok('join', channel => "room:m$_") for 1 .. 40;

    while ($n++ < 40 * 32) {
        $r = $ws->cmd('presence', channel => 'room:m' . int(1 + $n / 32),
                      key => "k$n", data => $pad);
        last if $r->{error};
    }

    is(code($r), 'too_many', 'presence comes to an end');
    is($r->{error}{data}{limit}, 'address', 'for its address');

    is(code($nginx->native(path => '/rt?user=ann')
                  ->cmd('join', channel => 'room:1',
                        presence => { pad => $pad })),
       'ok', 'another is present');

    is(code($ws->cmd('presence', channel => 'room:m1', key => 'k1',
                     data => 'less')),
       'ok', 'who holds too much may hold less');
};


# commands until one is refused: their number, and the last reply

sub until_refused {
    my ($do) = @_;

    for my $n (1 .. 5000) {
        my $r = $do->($n);
        return ($n, $r) if $r->{error};
    }

    return (5000, {});
}

sub kept { $nginx->http->get('/kept-status')->json }


subtest 'records' => sub {
    my $ws  = $nginx->native(path => '/kept', @mallory);
    my $ann = $nginx->native(path => '/kept');
    my $pad = 'x' x 500;

    my $set = sub {
        my ($from, $record, $value) = @_;
        return $from->cmd('set', channel => 'table:1', record => $record, set => { a => $value });
    };

    my ($n, $r) = until_refused(sub { $set->($ws, "m$_[0]", $pad) });

    is(code($r), 'too_many', "records come to an end after $n");
    is($r->{error}{data}{limit}, 'address', 'for its address');
    is($r->{error}{data}{max}, 50, 'may have that much');
    is(kept()->{zone}{shares}{records}{refused}, 0, 'the share is not at its end');

    my $before = kept()->{counters}{address_held};

    is(code($set->($ann, "a$_", $pad)), 'ok', 'another makes records') for 1 .. 5;
    is(code($set->($ann, 'm1', 'y')), 'ok', 'and changes those that are there');
    is(code($set->($ws, 'm2', 'less')), 'ok', 'who holds too much may hold less');
    is(code($set->($ws, 'm3', reverse $pad)), 'ok', 'or as much');

    my $api = $nginx->http->request(PATCH => '/api/channels/table:1/records/api',
                                    body => qq({"set":{"a":"$pad"}}));

    is($api->{status}, 201, 'a backend has no limit');

    # m1 is not its own any more, and less is in m2

    until_refused(sub { $set->($ws, "n$_[0]", $pad) });
    cmp_ok(kept()->{counters}{address_held}, '>', $before, 'address_held counts');
    is(code($ws->cmd('delete', channel => 'table:1', record => "m$_")), 'ok', 'it deletes')
        for 1 .. $n - 1;
    is(code($set->($ws, 'more', $pad)), 'ok', 'and has room again');
    $nginx->http->request(DELETE => '/api/channels/table:1?records=1');
};


subtest 'locks' => sub {
    my @ws  = map { $nginx->native(path => '/kept', @mallory) } 1 .. 60;
    my $ann = $nginx->native(path => '/kept');
    my $pad = 'x' x 1000;

    $_->ok('join', channel => 'table:2', want => []) for @ws, $ann;

    my ($n, $r) = until_refused(sub {
        $ws[$_[0] / 32]->cmd('lock', channel => 'table:2', name => "m$_[0]", data => $pad);
    });

    is(code($r), 'too_many', "locks come to an end after $n");
    is($r->{error}{data}{limit}, 'address', 'for the address');
    is(code($ann->cmd('lock', channel => 'table:2', name => "a$_")), 'ok', 'another locks')
        for 1 .. 20;
    is(code($ws[0]->cmd('lock', channel => 'table:2', name => 'm1')), 'ok', 'it may renew');
    is(code($ann->cmd('set', channel => 'table:2', record => 'r', set => { a => 1 })), 'ok',
       'another makes a record');
    $ws[0]->ok('leave', channel => 'table:2');
    is(code($ws[59]->cmd('lock', channel => 'table:2', name => 'again', data => $pad)), 'ok',
       'locks that end make room');
    $_->close for @ws;
};


subtest 'address=100%' => sub {
    my ($held, $r) = fill('/all', @mallory);

    is(code($r), 'zone_full', 'one may have all there is');
    like($r->{error}{message}, qr/^the share of the zone for sessions is full: fanout_zone sessions=$/,
         'and is told of what there is no more');

    my $http = $nginx->http(@mallory);
    my $poll;

    # a seat was refused: there may be room for one identity or the other

    for (1 .. 20) {
        $poll = $http->get('/all?poll=1&timeout=0&session=1&channel=room:1',
                           headers => { 'X-Requested-With' => 'test' });
        last if $poll->{status} == 507;
    }

    is($poll->{status}, 507, 'a poll is refused as well');
    like($poll->{body}, qr/the share of the zone for sessions is full: fanout_zone sessions=/,
         'with the same message');
};


subtest 'channels' => sub {
    my $status = sub { $nginx->http->get('/many-status')->json };
    my ($n, $ws, $r) = (0);

    my @held = $nginx->native(path => '/many', @mallory);

    while ($n++ < 3000) {
        push @held, $nginx->native(path => '/many', @mallory)
            if $n % 500 == 0;
        $r = $held[-1]->cmd('join', channel => "room:$n");
        last if $r->{error};
    }

    is(code($r), 'too_many', 'who has half of the channels has no more');
    is($r->{error}{data}{limit}, 'address', 'for its address');
    like($r->{error}{message}, qr/fanout_zone address=/, 'as it says');
    is($status->()->{zone}{shares}{channels}{refused}, 0,
       'the share is not at its end');
    is($status->()->{counters}{address_held}, 1, 'it counts');

    my $poll = $nginx->http(@mallory)->get(
        '/many?poll=1&timeout=0&channel=room:new',
        headers => { 'X-Requested-With' => 'test' });

    is($poll->{status}, 429, 'a poll is refused as well')
        or diag($poll->{body});
    like($poll->{body}, qr/too_many/, 'for the same');

    $ws = $nginx->native(path => '/many');
    is(code($ws->cmd('join', channel => "room:other$_")), 'ok',
       'another joins what is new') for 1 .. 20;
    is(code($held[-1]->cmd('join', channel => 'room:other1')), 'ok',
       'which can be joined');

    # until it is not in use any more

    $held[0]->ok('leave', channel => "room:$_") for 1 .. 40;
    is(code($held[-1]->cmd('join', channel => 'room:last')), 'ok',
       'who leaves may have another');
};


# The first of an address fills what it may at one worker, and then the address
# comes to another worker, or publishes.

subtest 'channels in use' => sub {
    my $two = Fanout::Nginx->start(
        workers => 2,
        http    => <<'END',
            fanout_rate off;
            fanout_budget off;
            fanout_zone app 3m channels=5%-10%;
            fanout_channels_per_session 3000;
            fanout_resume 60s;
END
        server => <<'END',
            location /rt { fanout app; fanout_permit all *; }
            location = /status { fanout_status app; }
            location = /back { return 201 y; }
            location = /write {
                proxy_pass http://127.0.0.1:%%PORT%%/back;
                fanout_broadcast app written:$arg_key key=$arg_key;
            }
END
    );

    my $counter = sub { $two->http->get('/status')->json->{counters}{ $_[0] } };
    my ($one, $other) = $two->worker_pids;
    my ($n, $r) = (0);

    my @ws = map { $two->native(path => '/rt', worker => $one, @mallory) } 1 .. 2;

    while ($n < 3000) {
        $r = $ws[0]->cmd('join', channel => 'c:' . ($n + 1));
        last if $r->{error};
        $n++;
    }

    is(code($r), 'too_many', 'it has no more');
    ok($two->wait_log(qr/\[warn\].*the clients of this address hold all they may of zone "app": fanout_zone address=/),
       'the log says so');

    is(scalar(grep { $ws[1]->cmd('join', channel => "c:$_")->{error} } 1 .. $n),
       0, 'another of the address joins the same');

    my $resume = $ws[1]->resume;

    $ws[1]->cut;
    $ws[1] = $two->native(path => '/rt', worker => $other, resume => $resume,
                          @mallory);

    is(scalar(grep { $ws[1]->cmd('join', channel => "c:$_")->{error} } 1 .. $n),
       0, 'and all of them again at another worker');
    is(code($ws[1]->cmd('join', channel => 'c:new')), 'too_many',
       'where it has no more either');

    # a key keeps a channel

    my $held = $counter->('address_held');

    $r = $ws[0]->cmd('publish', channel => 'k:1', data => 1, key => 'a');
    is(code($r), 'too_many', 'a key brings no channel into use');
    is($r->{error}{data}{limit}, 'address', 'for the address');
    like($r->{error}{message}, qr/fanout_zone address=/, 'as it says');
    is($counter->('address_held'), $held + 1, 'address_held counts');
    is($counter->('limited_keys'), 0, 'and limited_keys does not');

    is(code($ws[0]->cmd('publish', channel => 'k:1', data => 1)), 'ok',
       'without a key it publishes');
    is(code($ws[0]->cmd('publish', channel => 'c:1', data => 1, key => 'a')),
       'ok', 'and with one on a channel in use');

    my $post = $two->http(@mallory)->post('/rt',
        '{"op":"publish","channel":"k:1","data":0,"key":"b"}',
        headers => { 'Content-Type' => 'application/json' });

    is($post->{status}, 429, 'by POST it is 429') or diag($post->{body});
    like($post->{body}, qr/too_many/, 'for the same');

    is($two->http(@mallory)->post('/write?key=w', '')->{status}, 201,
       'it may write');
    ok($two->wait_log(qr/\[warn\].*does not remember a key: the clients of this address hold all that they may/),
       'and what a broadcast tells of it has no key');
    is($counter->('broadcasts'), 1, 'but is published');

    is(code($two->native(path => '/rt', worker => $other)
                ->cmd('join', channel => "d:$_")), 'ok', 'another joins what is new')
        for 1 .. 20;
};


done_testing();
