#!/usr/bin/env perl

# Signals (cursors, typing): if this fails, they are stored though they must
# not be, somebody who reads slowly gets old ones by the hundred or makes a
# worker or the zone grow, or those they are not for see them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app  16m;
        fanout_zone tiny 2m dedupe=1h user=100% address=100%;
        fanout_channel app linger*  linger=1m;
        fanout_channel app *  history=1000 ttl=1h;
END
    server => <<'END',
        location /rt   { fanout app; fanout_user $arg_user; fanout_permit all *;
                         fanout_buffer 64k; fanout_message_size 64k;
                         fanout_ping 60s; fanout_resume 1m;
                         fanout_rate off; fanout_budget off; }
        location /ro   { fanout app; fanout_permit join,publish *; }
        location /few  { fanout app; fanout_permit all *;
                         fanout_rate 1r/s burst=3; }
        location /tiny { fanout tiny; fanout_permit all *;
                         fanout_rate off; fanout_budget off; }
        location /raw  { fanout app; fanout_dialect raw; fanout_permit all *; }
        location /fanout { fanout_api app; }
        location = /status { fanout_status app; }
        location = /status-tiny { fanout_status tiny; }
END
);

my @pids = $nginx->worker_pids;
my $http = $nginx->http;


sub status  { $http->get('/status')->json }
sub counter { status()->{counters}{ $_[0] } }

# by those who are behind, and in the zone by workers who are
sub conflated {
    my $status = status();

    return $status->{counters}{signals_conflated} + $status->{zone}{conflated};
}


sub joined {
    my ($channel, $user, %o) = @_;

    my $join   = delete $o{join} || {};
    my $client = $nginx->native(path => "/rt?user=$user", %o);
    $client->ok(join => channel => $channel, %$join);

    return $client;
}


# What it was told of before a message that comes after all of it

sub until_end {
    my ($client, $by, $channel) = @_;

    $by->ok(publish => channel => $channel, data => 'end', store => \0,
            event => 'end');

    my @got;

    while (my $push = $client->next_push(10)) {
        return \@got if ($push->{data} || '') eq 'end';
        push @got, $push;
    }

    return [ @got, 'no end' ];
}


for my $where ([ 0, 0 ], [ 0, 1 ], [ 1, 0 ]) {
    my $channel = "room:@$where[0]$where->[1]";

    subtest "told, workers @$where" => sub {
        my $ann  = joined($channel, 'ann', worker => $pids[ $where->[0] ]);
        my $bob  = joined($channel, 'bob', worker => $pids[ $where->[1] ]);
        my $deaf = joined($channel, 'eve', worker => $pids[ $where->[1] ],
                          join => { want => ['messages'] });
        my $some = joined($channel, 'eve', worker => $pids[ $where->[1] ],
                          join => { events => [qw( typing end )] });
        my $raw  = $nginx->ws(path => "/raw?channel=$channel");

        is_deeply($ann->ok(signal => channel => $channel, event => 'cursor',
                           tag => 't1', data => { x => 1 }), {}, 'taken');
        $ann->ok(signal => channel => $channel, event => 'typing');

        is_deeply($bob->next_push(5),
                  { channel => $channel, signal => 'cursor', tag => 't1',
                    data => { x => 1 },
                    from => { client => $ann->client, user => 'ann' } },
                  'as it was sent');
        is_deeply($bob->next_push(5),
                  { channel => $channel, signal => 'typing', data => undef,
                    from => { client => $ann->client, user => 'ann' } },
                  'one that says nothing');

        is_deeply(until_end($ann, $bob, $channel), [], 'no echo');
        is_deeply([ grep { $_->{signal} } $deaf->drain ], [],
                  'not to those who do not want any');
        is_deeply([ map { $_->{signal} } @{ until_end($some, $bob,
                                                     $channel) } ],
                  ['typing'], 'events are chosen as for messages');
        is($raw->recv_text, '"end"', 'not to raw clients');

        my $join = $bob->ok(join => channel => $channel, history => 100);
        is_deeply($join->{messages}, [], 'nothing is stored');
        is_deeply($http->get("/fanout/channels/$channel/messages")
                       ->json->{messages}, [], 'nor shown by the API');
        is($join->{offset}, 2, 'and no offset is used');

        $_->cut for $ann, $bob, $deaf, $some, $raw;
    };
}


subtest 'addressed' => sub {
    my $ann = joined('room:1', 'ann', worker => $pids[0]);
    my @bob = map { joined('room:1', 'bob', worker => $_) } @pids;
    my $eve = joined('room:1', 'eve', worker => $pids[1]);

    $ann->ok(signal => channel => 'room:1', event => 'a', data => 1,
             to => { client => $bob[1]->client });
    $ann->ok(signal => channel => 'room:1', event => 'b', data => 2,
             to => { user => 'bob' });

    my $m = $bob[1]->next_push(5);
    is($m->{signal}, 'a', 'to a client');
    is_deeply($m->{to}, { client => $bob[1]->client }, 'and it knows');
    is($bob[1]->next_push(5)->{signal}, 'b', 'to a user');
    $m = $bob[0]->next_push(5);
    is($m->{signal}, 'b', 'with two clients');
    is_deeply($m->{to}, { user => 'bob' }, 'and it knows');
    is_deeply(until_end($eve, $ann, 'room:1'), [], 'to nobody else');

    for my $to ({ user => 'nobody' }, { client => 'c_0123456789abcdef' },
                { client => $ann->client })
    {
        is($ann->cmd(signal => channel => 'room:1', event => 'a', to => $to)
               ->{error}{code}, 'recipient_offline', 'nobody there');
    }

    my $cut = joined('linger:1', 'bob');
    my $two = joined('linger:1', 'ann');
    $cut->cut;
    ok(wait_for(sub {
        ($two->cmd(signal => channel => 'linger:1', event => 'a',
                   to => { user => 'bob' })->{error}{code} || '')
            eq 'recipient_offline'
    }), 'who lingers hears nothing');

    $_->cut for $ann, @bob, $eve, $two;
};


for my $where (0, 1) {
    subtest "a reader that stalls, worker $where" => sub {
        my $channel = "stall:$where";
        my $ann  = joined($channel, 'ann', worker => $pids[0]);
        my $slow = joined($channel, 'bob', worker => $pids[$where],
                          rcvbuf => 4096);
        my $fast = joined($channel, 'eve', worker => $pids[$where]);

        # more than its socket and its buffer hold
        my $big = 'x' x 50000;
        my $last;
        $last = $ann->ok(publish => channel => $channel, data => $big)
                    ->{offset} for 1 .. 60;
        $fast->next_where(sub { ($_[0]{offset} || 0) == $last }, 20);
        $fast->drain;

        my $before = conflated();

        for my $i (1 .. 300) {
            $ann->ok(signal => channel => $channel, event => 'cursor',
                     tag => 't' . $i % 3, data => $i);
        }

        my $m = $fast->next_where(sub { ($_[0]{data} || 0) == 300 }, 10);
        ok($m, 'others are told up to the last');

        cmp_ok(conflated() - $before, '>', 200,
               'what it has not read is replaced');

        # it reads

        my (@signals, @offsets);

        while (my $push = $slow->next_push(10)) {
            push @offsets, $push->{offset} if $push->{offset};
            push @signals, $push           if $push->{signal};
            last if @signals && $signals[-1]{data} == 300;
        }

        cmp_ok(scalar @signals, '<', 30, 'then it gets few of them');
        my %latest = map { $_->{tag} => $_->{data} } @signals;
        is_deeply(\%latest, { t0 => 300, t1 => 298, t2 => 299 },
                  'the latest of each');
        is($offsets[-1], $last, 'and all messages');
        is_deeply([ grep { $_->{gap} || $_->{signal} } $slow->drain ], [],
                  'and no more');

        $_->cut for $ann, $slow, $fast;
    };
}


subtest 'every' => sub {
    my $ann  = joined('every:1', 'ann', worker => $pids[0]);
    my $slow = joined('every:1', 'bob', worker => $pids[1],
                      join => { every => 10000 });
    my $fast = joined('every:1', 'eve', worker => $pids[1],
                      join => { every => 200 });

    my $tell = sub {
        $ann->ok(signal => channel => 'every:1', event => 'cursor',
                 data => $_[0]);
    };

    $tell->(1);

    for my $ws ($slow, $fast) {
        is($ws->next_where(sub { $_[0]{signal} })->{data}, 1,
           'the first at once');
    }

    $tell->($_) for 2 .. 50;

    is_deeply(until_end($slow, $ann, 'every:1'), [], 'then not for long');

    my @data;

    while (my $push = $fast->next_where(sub { $_[0]{signal} }, 10)) {
        push @data, $push->{data};
        last if $push->{data} == 50;
    }

    is($data[-1], 50, 'the last in the end');
    cmp_ok(scalar @data, '<', 49, 'not all');

    # another join sets it anew
    $slow->ok(join => channel => 'every:1');
    $ann->ok(signal => channel => 'every:1', event => 'cursor', data => 51);
    ok($slow->next_where(sub { ($_[0]{data} || '') eq '51' }, 10),
       'without it all are told');

    for my $bad (-1, 10001, 'x', 1.5, [], \1) {
        is($slow->cmd(join => channel => 'every:1', every => $bad)
               ->{error}{code}, 'bad_request',
           'every: ' . Fanout::JSON::encode($bad));
    }

    $_->cut for $ann, $slow, $fast;
};


subtest 'a worker that stands still' => sub {
    my $ann = joined('stop:1', 'ann', worker => $pids[0]);
    my $bob = joined('stop:1', 'bob', worker => $pids[1]);
    my $eve = joined('stop:1', 'eve', worker => $pids[0]);

    my $mine = $nginx->http(worker => $pids[0]);
    $nginx->signal($pids[1], 'STOP');

    for my $i (1 .. 2000) {
        $ann->send_cmd(signal => channel => 'stop:1', event => 'cursor',
                       tag => "t$i", data => $i);
    }

    for my $i (1 .. 500) {
        $ann->send_cmd(signal => channel => 'stop:1', event => 'typing',
                       data => $i);
    }

    ok($eve->next_where(sub { ($_[0]{signal} || '') eq 'typing'
                              && $_[0]{data} == 500 }, 20),
       'others are told');

    my $zone = $mine->get('/status')->json->{zone};
    cmp_ok($zone->{used}{signals}, '<=', 256 * 3 * 2, 'the zone holds few of them');
    cmp_ok($zone->{used}{signals}, '>', 0, 'but some');
    cmp_ok($zone->{conflated}, '>=', 499, 'replaced ones are counted');
    cmp_ok($zone->{signals_dropped}, '>=', 1700, 'and dropped ones');

    $nginx->signal($pids[1], 'CONT');

    my @got;

    while (my $push = $bob->next_push(10)) {
        push @got, $push;
        last if $push->{signal} eq 'typing';
    }

    is($got[-1]{data}, 500, 'it gets the latest');
    cmp_ok(scalar @got, '<=', 257, 'of those that are left');
    is($got[-2]{data}, 2000, 'which are the newest');

    ok(wait_for(sub { !status()->{zone}{used}{signals} }),
       'nothing is left in the zone');

    $_->cut for $ann, $bob, $eve;
};


subtest 'a full zone' => sub {
    my $ann = $nginx->native(path => '/tiny', worker => $pids[0]);
    my $bob = $nginx->native(path => '/tiny', worker => $pids[1]);
    $_->ok(join => channel => 'a') for $ann, $bob;

    # keys can't be evicted, but have no more than their share

    my ($n, $r) = (0);

    while ($n < 40000) {
        ($r) = reverse $ann->batch(map { { op => 'publish', channel => 'a',
                                           data => 1, key => 'k' . $n++ } }
                                       1 .. 64);
        $ann->drain;
        last if $r->{error};
    }

    is($r->{error}{code}, 'zone_full', 'there is no room for a key');

    $bob->drain;
    $r = $ann->cmd(signal => channel => 'a', event => 'e', data => 'x' x 4000);
    ok($r->{ok}, 'a signal has its own');
    ok($bob->next_where(sub { ($_[0]{signal} || '') eq 'e' }), 'and is told');

    $_->cut for $ann, $bob;
};


subtest 'the API' => sub {
    my $bob = joined('api:1', 'bob', worker => $pids[1]);
    my $url = '/fanout/channels/api:1';

    my $r = $http->post("$url/signals?event=cursor&tag=a&user=svc",
                        '{"x":1}');
    is($r->{status}, 200, 'a signal');
    is_deeply($bob->next_push(5),
              { channel => 'api:1', signal => 'cursor', tag => 'a',
                data => { x => 1 }, from => { user => 'svc' } }, 'is told');

    $r = $http->post("$url/signals?event=e&to_user=bob", '1');
    is($bob->next_push(5)->{signal}, 'e', 'to a user');
    is($http->post("$url/signals?event=e&to_user=x", '1')->{status}, 404,
       'to nobody');
    is($http->post("$url/signals", '1')->{status}, 400, 'without an event');
    is($http->post("$url/signals?event=e", '"' . 'x' x 20000 . '"')
            ->{status}, 413, 'too large');
    is($http->get("$url/signals")->{status}, 405, 'nothing to get');

    $r = $http->post("$url/messages?to_client=" . $bob->client, '"hi"');
    is($r->{status}, 201, 'a direct message');
    is($r->json->{delivered}, 1, 'delivered');
    is($bob->next_push(5)->{data}, 'hi', 'and told');
    is($http->post("$url/messages?to_user=x", '1')->json->{error}{code},
       'recipient_offline', 'to nobody');
    is($http->post("$url/messages?to_user=bob&to_client=c", '1')->{status},
       400, 'to both');
    is($http->post("$url/messages?to_client=nonsense", '1')->{status}, 404,
       'to no client');

    $r = $http->post('/fanout/batch', Fanout::JSON::encode([
        { op => 'publish', channel => 'api:1', data => 1,
          to => { user => 'bob' } },
        { op => 'signal', channel => 'api:1', event => 's', data => 2,
          tag => 't' },
        { op => 'publish', channel => 'api:1', data => 3,
          to => { user => 'x' } },
        { op => 'signal', channel => 'api:1', event => 's', to => 5,
          data => 1 },
        { op => 'publish', channel => 'api:1', data => 3, to => {},
          live => \1 },
    ]))->json;

    is($bob->next_push(5)->{data}, 1, 'a batch');
    is($bob->next_push(5)->{tag}, 't', 'of both');
    is_deeply([ map { $_->{error} ? $_->{error}{code} : 'ok' }
                @{ ref $r eq 'ARRAY' ? $r : $r->{results} } ],
              [qw( ok ok recipient_offline bad_request bad_request )],
              'with its results');

    $bob->cut;
};


subtest 'bad input' => sub {
    my $ann = joined('bad:1', 'ann');

    my %ok = (channel => 'bad:1', event => 'e', data => 1);

    for my $bad ([ event => '' ], [ event => undef ], [ event => 5 ],
                 [ tag => 'x' x 129 ], [ tag => [] ], [ channel => '' ],
                 [ channel => 'a*' ], [ to => 5 ],
                 [ to => { client => 'a', user => 'b' } ])
    {
        is($ann->cmd('signal', %ok, @$bad)->{error}{code}, 'bad_request',
           Fanout::JSON::encode($bad));
    }

    delete $ok{event};
    is($ann->cmd('signal', %ok)->{error}{code}, 'bad_request',
       'without an event');
    $ok{event} = 'e';

    my $r = $ann->cmd('signal', %ok, data => 'x' x 16383);
    is($r->{error}{code}, 'too_large', 'too large');
    is($r->{error}{data}{max}, 16384, 'with the limit');
    ok($ann->cmd('signal', %ok, data => 'x' x 16382)->{ok},
       'one byte less is not');

    my $ro = $nginx->native(path => '/ro');
    is($ro->cmd('signal', %ok)->{error}{code}, 'forbidden',
       'without permission');
    like($ro->cmd('signal', %ok)->{error}{message}, qr/fanout_permit signal/,
         'which is named');

    my $few = $nginx->native(path => '/few');
    my @codes = map { $_->{error}{code} || 'ok' }
                    $few->batch(map { { op => 'signal', %ok } } 1 .. 20);

    # a signal is half a command, and begun if a whole one is left

    is_deeply([ @codes[0 .. 4] ], [ ('ok') x 5 ], 'the first may');
    ok((grep { $_ eq 'rate_limited' } @codes), 'the rate counts');

    # to nobody in particular where nobody is: it is just not heard
    ok($ann->cmd(signal => channel => 'empty', event => 'e')->{ok},
       'where nobody is');

    $_->cut for $ann, $ro, $few;
};


cmp_ok(counter('signals'), '>', 3000, 'signals are counted');
cmp_ok(counter('signals_told'), '>', 1000, 'and what was told');

done_testing();
