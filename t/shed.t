#!/usr/bin/env perl

# A worker that holds all the output it may (frames=). If this fails, a few
# hundred clients that don't read make all others lose messages or keep them
# from joining, or one that let go of output misses some of it later, or gets
# it twice.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Stream;


my $nginx = Fanout::Nginx->start(
    workers => 1,
    tls     => 1,
    http    => <<'END',
        fanout_zone app 64m frames=2m;
        fanout_channel app kept:* history=1000 bytes=16m;
        fanout_channel app lost:*;
        fanout_channel app room:* presence=on;
        fanout_permit all *;
        fanout_rate off;
        fanout_budget off;
        fanout_ping 10m;
        fanout_send_timeout 10m;
        fanout_buffer 1m;
        fanout_deflate on;
END
    server => <<'END',
        listen 127.0.0.1:%%PORT%% sndbuf=16k;
        location /rt     { fanout app; }
        location /raw    { fanout app; fanout_dialect raw; }
        location /api/   { fanout_api app; }
        location /status { fanout_status app; }
END
);

my $http = $nginx->http;
my $max  = 2 * 1024 * 1024 * 3 / 4;      # a quarter is for lists


sub status   { $http->get('/status')->json }
sub counters { status()->{workers}[0]{counters} }


# Letters by chance, so that it is long when it is compressed, too; from 1001 on
# of 60,000 bytes

my @texts;

sub text {
    my ($i) = @_;

    return $texts[$i] ||= "$i " . join '', map { chr 97 + int rand 26 }
                                           1 .. ($i > 1000 ? 60_000 : 8000);
}


sub publish {
    my ($channel, $i) = @_;

    my $r = $http->post("/api/channels/$channel/messages",
                        Fanout::JSON::encode(text($i)));
    $r->{status} == 201 or die "published: $r->{status}";
}


# What a client gets up to message $n of its channel: the numbers, and "gap"

sub numbers {
    my ($next, $n) = @_;

    my ($last, @got) = 0;

    while ($last < $n) {
        my $m = $next->() or last;

        if ($m->{gap}) {
            push @got, 'gap';
            $last = $m->{gap}{to} + ($n > 1000 ? 1000 : 0);
            next;
        }

        next if !defined $m->{data};

        ($last) = $m->{data} =~ /^(\d+) /;
        push @got, $m->{data} eq ($texts[$last] || '') ? $last : 'wrong';
    }

    return \@got;
}


my %kinds = (
    'WebSocket'           => [],
    'WebSocket, deflate'  => [ deflate => 1 ],
    'WebSocket, TLS'      => [ tls => 1 ],
    'WebSocket, TLS, deflate' => [ tls => 1, deflate => 1 ],
    'raw'                 => [ raw => 1 ],
    'events'              => [ events => 1 ],
);


sub client {
    my ($channel, %o) = @_;

    if ($o{events}) {
        my $s = Fanout::Stream->new($nginx, '/rt', channels => [ $channel ],
                                    rcvbuf => 4096);
        return { c => $s, next => sub { $s->next_push(20) } };
    }

    if ($o{raw}) {
        my $s = $nginx->ws(path => "/raw?channel=$channel", rcvbuf => 4096);
        return { c => $s, next => sub {
            my $m = $s->recv_message(20);
            $m && { data => $m->{payload} =~ s/^"|"$//gr };
        } };
    }

    my $s = $nginx->native(path => '/rt', rcvbuf => 4096, %o);
    $s->ok(join => channel => $channel);

    return { c => $s, next => sub { $s->next_push(20) } };
}


subtest 'who lets go of it reads it later' => sub {
    my $before = counters();
    my $n = 100;
    my %slow;

    for my $kind (sort keys %kinds) {
        $slow{"$kind $_"} = client("kept:$kind-$_" =~ s/[ ,]+/-/gr,
                                   @{ $kinds{$kind} }) for 1 .. 3;
    }

    for my $i (1 .. $n) {
        publish("kept:$_" =~ s/[ ,]+/-/gr, $i)
            for map { s/ (\d)$/-$1/r } sort keys %slow;
    }

    ok(wait_for(sub { status()->{worker}{frames} < $max }, 30),
       'less than a worker may hold is held');

    my $after = counters();

    cmp_ok($after->{sheds} - $before->{sheds}, '>', 0, 'some let go of it');
    is($after->{shed_cuts} - $before->{shed_cuts}, 0, 'nobody is cut');

    for my $kind (sort keys %slow) {
        my $got = numbers($slow{$kind}{next}, $n);
        is("@$got", join(' ', 1 .. $n), "$kind: all, in order, once");
    }

    is(counters()->{gaps}, $before->{gaps}, 'without a gap');
    $_->{c}->cut for values %slow;
};


subtest 'who reads two channels beside them' => sub {
    my $fast = $nginx->native(path => '/rt');
    my $from = $nginx->native(path => '/rt');
    my @slow;

    $fast->ok(join => channel => "lost:$_") for 'a', 'b';

    for my $i (1 .. 24) {
        my $slow = $nginx->native(path => '/rt', rcvbuf => 4096);

        $slow->ok(join => channel => "lost:$i");
        publish("lost:$i", $_) for 1001 .. 1012;
        push @slow, $slow;
    }

    # both in one turn of the worker, while it holds all it may or did so

    my ($n, $gaps) = (0, 0);

    for my $round (1 .. 100) {
        $from->batch(map { { op => 'publish', channel => 'lost:' . $_,
                             data => $round } } ('a', 'b') x 5);

        while ($n < 10 * $round) {
            my $m = $fast->next_push(20) or last;

            $gaps++ if $m->{gap};
            $n += $m->{gap} ? $m->{gap}{to} - $m->{gap}{from} : 1;
        }
    }

    is($n, 1000, 'a fast reader gets all');
    is($gaps, 0, 'and no gap');

    ok(wait_for(sub { status()->{worker}{frames} < $max }, 30),
       'those who do not read let go of theirs');

    # which is lost, for there is no history, and they are told so, or cut

    my $told = 0;

    for my $slow (@slow) {
        my $got = numbers(sub { $slow->next_push(10) }, 1012);
        $told++ if $slow->eof || "@$got" =~ /^1001 (\d+ )*(gap|1012)$/;
    }

    is($told, @slow, 'and are told of it, or are cut');
    $_->cut for @slow, $fast, $from;
};


subtest 'who joins beside them' => sub {
    my @slow;

    for my $i (1 .. 24) {
        my $slow = $nginx->native(path => '/rt', rcvbuf => 4096);

        $slow->ok(join => channel => "lost:j$i");
        publish("lost:j$i", $_) for 1001 .. 1012;
        push @slow, $slow;
    }

    # at once, for a list of members does not wait for output

    for my $room ('room:new', 'room:new', 'room:other') {
        my $ws = $nginx->native(path => '/rt');
        my $r  = $ws->cmd('join', channel => $room, presence => {},
                          timeout => 30);
        ok($r->{ok} && @{ $r->{ok}{members} }, "$room: has its list");
    }

    $_->cut for @slow;
};


subtest 'who holds what no log has' => sub {
    my $from = $nginx->native(path => '/rt');
    my (@slow, $cut);

    $from->ok(publish => channel => 'kept:history', data => text($_))
        for 1 .. 60;

    # what they asked for is theirs: they take it, or are cut

    for my $i (1 .. 40) {
        my $slow = $nginx->native(path => '/rt', rcvbuf => 4096);
        push @slow, $slow;

        for my $k (1 .. 4) {
            $slow->send_cmd(join => channel => "kept:own$i-$k");
            $slow->send_cmd(publish => channel => "kept:own$i-$k",
                            data => text($i));
            $slow->send_cmd(history => channel => 'kept:history',
                            limit => 24);
        }
    }

    ok(wait_for(sub { status()->{worker}{frames} < $max }, 30),
       'in the end less is held than may be');

    $cut = counters()->{shed_cuts};

    is($from->cmd('ping')->{error}, undef, 'who reads is there');

    my $ws = $nginx->native(path => '/rt');
    ok($ws->ok(join => channel => 'kept:history', history => 5),
       'and others are served');

    $_->cut for @slow;
    ok(wait_for(sub { status()->{worker}{frames} < 300_000 }, 30),
       "nothing is left of it; $cut were cut");
};

done_testing();
