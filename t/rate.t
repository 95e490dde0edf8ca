#!/usr/bin/env perl

# 70,000 messages in one second: if this fails, a burst makes two messages
# share a place, or leaves one out, as ids made of a second and a short number
# do, and a client that comes back in the middle gets something else than what
# it missed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Elapsed qw( time );
use Fanout::JSON;
use Fanout::Nginx;


my $total = $ENV{TEST_LONG} ? 1_400_000 : 70_000;
my $batch = 50;

my $nginx = Fanout::Nginx->start(
    http   => 'fanout_zone app 256m; fanout_rate off; fanout_budget off;
               fanout_channel app * history=2000000 ttl=1h;
               client_body_buffer_size 256k;',
    server => 'fanout_message_size 256k;
               location /rt { fanout app; fanout_permit all *; }
               location /fanout { fanout_api app; }
               location = /status { fanout_status app; }',
);

my @pids = $nginx->worker_pids;

my @subs = map { $nginx->native(path => '/rt', worker => $_) } @pids;
my ($join) = map { $_->ok(join => channel => 'room') } @subs;


# Four publishers: two on each worker; those of one kind send messages[], the
# others arrays of commands.  Everything is ready before it begins.

my @pubs = map {
    { client => $nginx->native(path => '/rt', worker => $pids[$_ % 2]),
      no => $_ }
} 0 .. 3;

sub frame {
    my ($pub, $from, $n) = @_;

    my @data = map { qq("p$pub->{no}-$_") } $from .. $from + $n - 1;

    my $text = $pub->{no} < 2
        ? '{"id":1,"op":"publish","channel":"room","messages":['
          . join(',', map { qq({"data":$_}) } @data) . ']}'
        : '[' . join(',', map {
            qq({"id":1,"op":"publish","channel":"room","data":$_})
        } @data) . ']';

    return $pub->{client}->frame(1, $text);
}

for my $pub (@pubs) {
    my $each = $total / @pubs;

    $pub->{out} = join '', map { frame($pub, $_ * $batch, $batch) }
                           0 .. $each / $batch - 1;
    $pub->{left} = $pub->{no} < 2 ? $each / $batch : $each;
    $pub->{acked} = [];
}


# Each "ok" has an offset: of a batch the last one

sub acks {
    my ($pub) = @_;

    while (my $m = $pub->{client}->recv_message(0)) {
        while ($m->{payload} =~ /"ok":\{"epoch":"[^"]*","offset":(\d+)/g) {
            push @{ $pub->{acked} }, $1;
            $pub->{left}--;
        }

        die "publisher $pub->{no}: $&\n"
            if $m->{payload} =~ /"error":\{.{0,200}/;
    }
}

my $began = time;
my $end   = $began + 120 * $Fanout::Socket::SCALE;

while (time < $end and my @busy = grep { $_->{left} } @pubs) {
    for my $pub (@busy) {
        if (length $pub->{out}) {
            my $n = $pub->{client}->try_send($pub->{out});
            substr $pub->{out}, 0, $n, '' if $n;
        }

        acks($pub);
    }

    select undef, undef, undef, 0.001 if !grep { length $_->{out} } @busy;
}

my $took = time - $began;

is(scalar(grep { $_->{left} } @pubs), 0, 'all are acknowledged');


# What the subscribers got: every offset once, the same message at it

sub read_all {
    my ($client) = @_;

    my @at;

    while (@at < $total and my $m = $client->recv_message(20)) {
        push @at, [ $1, $2, $3, $4 ]
            while $m->{payload} =~ /"offset":(\d+),"time":(\d+)
                                    [^{}]*?"data":"p(\d)-(\d+)"/gx;
        die "$&\n" if $m->{payload} =~ /"(?:gap|reset)":.*?\}/;
    }

    return \@at;
}


sub check {
    my ($name, $at) = @_;

    my ($wrong, @next) = ('', 0, 0, 0, 0);

    for my $i (0 .. $#$at) {
        my ($offset, $time, $p, $n) = @{ $at->[$i] };

        $wrong = "offset $offset at $i"
            if $offset != $join->{offset} + $i + 1;
        $wrong = "message $n of publisher $p at $offset"
            if $n != $next[$p]++;
        $wrong = "time goes back at $offset"
            if $i && $time < $at->[$i - 1][1];

        last if $wrong;
    }

    is(scalar @$at, $total, "$name: all of them");
    is($wrong, '', "$name: in order, with no gap and none twice");
}

my @seen = map { read_all($_) } @subs;

check("subscriber $_", $seen[$_]) for 0, 1;

sub text { join "\n", map { "@$_" } @{ $_[0] } }

is(text($seen[1]), text($seen[0]), 'both saw the same');


# The acknowledgements named the right offsets

my @wrong;

for my $pub (@pubs) {
    my $step = $pub->{no} < 2 ? $batch : 1;

    for my $i (0 .. $#{ $pub->{acked} }) {
        my $at = $seen[0][ $pub->{acked}[$i] - $join->{offset} - 1 ];

        push @wrong, "$pub->{no}: $i at $pub->{acked}[$i]"
            if $at->[2] != $pub->{no} || $at->[3] != ($i + 1) * $step - 1;
    }
}

is(scalar @wrong, 0, 'each was acknowledged with its own offset')
    or diag(join "\n", splice @wrong, 0, 10);


# From the middle of the burst

my $late  = $nginx->native(path => '/rt');
my $since = $join->{offset} + $total - 10_000;
my $got   = $late->cmd(join => channel => 'room',
    since => { epoch => $join->{epoch}, offset => $since });

my @missed = map { @{ $_->{messages} } } @{ $got->{part} || [] }, $got->{ok};

ok($got->{ok}{recovered}, 'who comes back in the middle recovers');
is(join(' ', map { $_->{data} } @missed),
   join(' ', map { "p$_->[2]-$_->[3]" } @{ $seen[0] }[-10_000 .. -1]),
   'and gets what it missed');

my $busiest = 0;
my $from    = 0;

for my $i (0 .. $#{ $seen[0] }) {
    $from++ while $seen[0][$i][1] - $seen[0][$from][1] >= 1000;
    $busiest = $i - $from + 1 if $i - $from + 1 > $busiest;
}

diag(sprintf '%d messages in %.2f s, up to %d in one second', $total, $took,
     $busiest);

done_testing();
