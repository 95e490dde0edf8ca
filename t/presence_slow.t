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
        fanout_zone app 16m frames=8m;
        fanout_channel app kept:*  presence=on linger=0 batch=0 changes=4m;
        fanout_channel app few:*   presence=on linger=0 batch=0 changes=64k;
        fanout_channel app none:*  presence=on linger=0 batch=0 changes=0;
        fanout_channel app usual:* presence=on linger=0 batch=0;
END
    server => <<'END',
        listen 127.0.0.1:%%PORT%% sndbuf=16k;

        location /rt {
            fanout app;
            fanout_permit all *;
            fanout_buffer 8k;
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

done_testing();
