#!/usr/bin/env perl

# A join that waits for a list of members. If this fails, a client that joins
# while those who do not read hold all the room for lists is refused although
# the room comes free in time, or waits for ever, or stays in a channel that it
# was told it could not join.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Clock;
use Fanout::Nginx;


my $clock = Fanout::Clock->new;
my $nginx = $clock->start(
    workers => 1,
    http    => <<'END',
        fanout_zone app 16m frames=8m; fanout_rate off; fanout_budget off;
        fanout_channel app big:* presence=on linger=0 batch=0 keys=128
                                 changes=0;
END
    server => <<'END',
        listen 127.0.0.1:%%PORT%% sndbuf=16k;

        location /rt {
            fanout app;
            fanout_permit all *;
            fanout_presence_size 8k;
            fanout_ping 10m;
            fanout_send_timeout 10m;
        }
        location = /status { fanout_status app; }
END
);

my $http = $nginx->http;
my $full = 8 * 1024 * 1024 / 4;

sub lists { $http->get('/status')->json->{worker}{lists} }

my @members = map { $nginx->native(path => '/rt') } 1 .. 3;

for my $ws (@members) {
    $ws->ok('join', channel => 'big:1', want => [ 'messages' ]);
    $ws->ok('presence', channel => 'big:1', key => "k$_", data => 'x' x 8000)
        for 1 .. 100;
}


# A join of a channel, whose list has no room: what it is answered when this
# much of its time has passed and the channel changes, which makes it try
# again.  The worker drops those who hold the room at the end of that turn, or
# of one that comes before it: then the join finds room.

sub late {
    my ($channel, $ms) = @_;

    my $ann  = $nginx->native(path => '/rt');
    my $bob  = $nginx->native(path => '/rt');
    my @slow = map { $nginx->native(path => '/rt', rcvbuf => 4096) } 1 .. 8;

    $ann->ok('join', channel => $channel, presence => { n => 0 },
             want => [ 'messages' ]);

    for my $slow (@slow) {
        $slow->send_cmd('join', channel => 'big:1');
        last if lists() > $full;
    }

    my $id   = $bob->send_cmd('join', channel => $channel);
    my $held = lists() > $full;

    $clock->forward($ms);
    $ann->send_cmd('presence', channel => $channel, data => { n => 1 });

    my $reply = $bob->reply($id);

    $_->cut for $ann, @slow;

    return $held ? ($reply, $bob) : ();
}


# 2 s after the join a list is late, 10 s after that there is none

my ($soon) = grep { $_ } map { (late("big:soon$_", 11_000))[0] } 1 .. 3;

ok($soon->{ok}, 'before the deadline it waits until there is room')
    or diag(explain($soon));

my ($error, $bob, $at);

for (1 .. 20) {
    $at = "big:late$_";
    (my $reply, $bob) = late($at, 13_000);

    $error = $reply ? $reply->{error} : undef;
    last if $error;
}

is($error->{code}, 'busy', 'after it a join is refused')
    or done_testing(), exit;
like($error->{message}, qr/fanout_zone frames=/, 'why');
cmp_ok($error->{data}{retry_after}, '>=', 2000, 'when it may try again');
is($bob->cmd('leave', channel => $at)->{error}{code}, 'not_joined',
   'it is not in the channel');
ok(wait_for(sub { $bob->cmd('join', channel => $at)->{ok} }),
   'and joins when there is room');

done_testing();
