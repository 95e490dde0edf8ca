#!/usr/bin/env perl

# Members and those who read slowly. If this fails, somebody who was behind has
# a wrong list and isn't told, or a few who don't read keep all others from
# joining, who are told nothing that helps.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    workers => 1,
    http    => <<'END',
        fanout_zone app 16m frames=8m; fanout_rate off; fanout_budget off;
        fanout_channel app kept:*  presence=on linger=0 batch=0 changes=4m;
        fanout_channel app few:*   presence=on linger=0 batch=0 changes=64k;
        fanout_channel app none:*  presence=on linger=0 batch=0 changes=0;
        fanout_channel app usual:* presence=on linger=0 batch=0;
        fanout_channel app big:*   presence=on linger=0 batch=0 keys=128
                                   changes=0;
END
    server => <<'END',
        listen 127.0.0.1:%%PORT%% sndbuf=16k;

        location /rt {
            fanout app;
            fanout_permit all *;
            fanout_buffer 8k;
            fanout_ping 10m;
        }
        location /big {
            fanout app;
            fanout_permit all *;
            fanout_presence_size 8k;
            fanout_ping 10m;
        }
        location = /status { fanout_status app; }
END
);

my $http = $nginx->http;


# A reader that stands still while so many changes of 4,000 bytes are told.

sub behind {
    my ($at, $n) = @_;

    my $ann  = $nginx->native(path => '/rt');
    my $slow = $nginx->native(path => '/rt', rcvbuf => 4096);
    my ($gap, $last);

    $slow->ok('join', channel => $at);
    $ann->ok('join', channel => $at, presence => { n => 0 },
             want => ['messages']);

    $ann->ok('presence', channel => $at,
             data => { n => $_, text => 'x' x 4000 }) for 1 .. $n;

    wait_for(sub {
        for ($slow->drain) {
            $gap ||= $_->{gap};
            $last = $_->{presence}{updated}[0]{data}{n}
                if $_->{presence} && $_->{presence}{updated};
        }
        $gap || $last && $last == $n;
    }, 30);

    my ($member) = grep { $_->{client} eq $ann->client }
                       map { @{ $_->{members} } }
                       do { my $r = $slow->cmd('members', channel => $at);
                            (@{ $r->{part} || [] }, $r->{ok}) };

    is($member->{data}{n}, $n, "$at: reads them again");

    $_->close(1000) for $ann, $slow;

    return ($gap, $last);
}

subtest 'changes=' => sub {
    for my $case ([ 'kept:1', 200, 0 ], [ 'few:1', 200, 1 ],
                  [ 'usual:1', 200, 1 ], [ 'usual:2', 50, 0 ],
                  [ 'none:1', 50, 1 ])
    {
        my ($at, $n, $lost) = @$case;
        my ($gap, $last) = behind($at, $n);

        is($gap ? $gap->{of} : '', $lost ? 'presence' : '',
           "$at: $n changes: " . ($lost ? 'a gap' : 'no gap'));
        is($last, $n, "$at: all is told") if !$lost;
    }
};


# A POST is answered at once, by a worker that has not read who is there.

sub post {
    my ($path, $at) = @_;

    return $http->post($path, Fanout::JSON::encode(
                           { id => 1, op => 'members', channel => $at }),
                       headers => { 'Content-Type' => 'application/json' });
}

subtest 'members by POST, where nobody is told of them' => sub {
    my $ann = $nginx->native(path => '/rt');

    $ann->ok('join', channel => 'usual:post', want => [ 'messages' ]);

    is_deeply(post('/rt', 'usual:post')->json->{ok}{members}, [],
              'an empty list');
};


# Each of those who join and don't read holds the list as it was then.  All of
# these lists have a quarter of frames=, which those who don't read give back.

subtest 'slow joiners' => sub {
    my $at  = 'big:1';
    my $ann = $nginx->native(path => '/big');
    my $id  = 0;

    my $status = sub { $http->get('/status')->json };
    my $held   = sub { $status->()->{worker}{lists} };
    my $cut    = sub { $status->()->{workers}[0]{counters}{shed_cuts} };

    $ann->ok('join', channel => $at, want => [ 'messages' ]);
    $ann->ok('presence', channel => $at, key => "k$_",
             data => { n => 0, text => 'x' x 8000 }) for 1 .. 100;

    my (@slow, $most);

    for (1 .. 8) {
        my $slow = $nginx->native(path => '/big', rcvbuf => 4096);

        push @slow, $slow;
        $slow->send_cmd('join', channel => $at);
        like($slow->recv_text(30), qr/"part"/, "joiner $_ is told");
        $ann->ok('presence', channel => $at, key => 'k1',
                 data => { n => ++$id, text => 'x' x 8000 });

        my $now = $held->();
        $most = $now if !$most || $now > $most;
    }

    cmp_ok($most, '>', 1_500_000, "they hold $most bytes");
    cmp_ok($most, '<', 3_500_000, 'but not more and more');
    cmp_ok($cut->(), '>', 0, 'for those who do not read are cut');
    ok($nginx->wait_log(qr/holds most of the output.*: fanout_zone frames=/),
       'and the log says why');

    my $bob = $nginx->native(path => '/big');
    my $r = $bob->cmd('join', channel => $at, timeout => 30);

    is(scalar(map { @{ $_->{members} } } @{ $r->{part} || [] }, $r->{ok} || ()),
       100, 'one who reads joins, and has all');
    ok($ann->ok('ping'), 'who holds nothing is there');

    $bob->close(1000);
    $_->cut for @slow, $ann;

    ok(wait_for(sub { $held->() == 0 }), 'nothing is held in the end');
};


# A list of a channel that the worker doesn't read is made at once, or not. Who
# holds all the room may be cut before it is asked for, so there are more.

subtest 'no room for a list' => sub {
    my $at      = 'big:2';
    my @members = map { $nginx->native(path => '/big') } 1 .. 3;
    my ($busy, @slow);

    for my $ws (@members) {
        $ws->ok('join', channel => $at, want => [ 'messages' ]);
        $ws->ok('presence', channel => $at, key => "k$_", data => 'x' x 8000)
            for 1 .. 100;
    }

    for (1 .. 50) {
        push @slow, $nginx->native(path => '/big', rcvbuf => 4096);
        $slow[-1]->send_cmd('join', channel => $at);
        last if !$slow[-1]->recv_text(30);

        $busy = $members[0]->cmd('members', channel => 'big:3')->{error};
        last if $busy;
    }

    is($busy->{code}, 'busy', 'a list is refused') or return;
    like($busy->{message}, qr/fanout_zone frames=/, 'why');
    cmp_ok($busy->{data}{retry_after}, '>=', 2000, 'when it may try again');

    $_->cut for @slow;

    ok(wait_for(sub {
        $members[0]->cmd('members', channel => 'big:3')->{ok};
    }), 'and then it is told');

    $_->close(1000) for @members;
};


done_testing();
