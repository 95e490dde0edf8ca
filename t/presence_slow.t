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


# Each of those who join and don't read holds the list as it was then.

subtest 'slow joiners' => sub {
    my $at  = 'big:1';
    my $ann = $nginx->native(path => '/big');
    my $id  = 0;

    my $frames = sub { $http->get('/status')->json->{worker}{frames} };

    $ann->ok('join', channel => $at, want => [ 'messages' ]);
    $ann->ok('presence', channel => $at, key => "k$_",
             data => { n => 0, text => 'x' x 8000 }) for 1 .. 100;

    my @slow;

    while (@slow < 20 && $frames->() <= 8 * 1024 * 1024) {
        my $slow = $nginx->native(path => '/big', rcvbuf => 4096);
        my $begun;

        push @slow, $slow;
        $slow->send_cmd('join', channel => $at);
        $begun = $slow->recv_text(20);
        $ann->ok('presence', channel => $at, key => 'k1',
                 data => { n => ++$id, text => 'x' x 8000 });
    }

    cmp_ok($frames->(), '>', 8 * 1024 * 1024, @slow . ' hold all there is');

    my $bob = $nginx->native(path => '/big');
    my $r = $bob->cmd('join', channel => $at, timeout => 30);

    is($r->{error}{code}, 'busy', 'another one is told so');
    like($r->{error}{message}, qr/fanout_zone frames=/, 'and by what');
    cmp_ok($r->{error}{data}{retry_after}, '>=', 1000, 'and when to try again');
    is($bob->cmd('leave', channel => $at)->{error}{code}, 'not_joined',
       'he has not joined');

    $r = post('/big', $at);
    is($r->{status}, 503, 'a POST');
    is($r->json->{error}{code}, 'busy', 'says why');

    ok($bob->ok('join', channel => $at, want => [ 'messages' ]),
       'who does not ask for members joins');
    $bob->ok('leave', channel => $at);

    $_->cut for @slow;

    ok(wait_for(sub { $frames->() < 4 * 1024 * 1024 }), 'they are gone');

    $r = $bob->cmd('join', channel => $at);
    is(scalar(map { @{ $_->{members} } } @{ $r->{part} }, $r->{ok}), 100,
       'he can join');
};

done_testing();
