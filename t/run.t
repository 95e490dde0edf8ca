#!/usr/bin/env perl

# "make run" and "make demo" twice in one directory. If this fails, the second
# one takes the files of the first away, which can't be reloaded or stopped any
# more, or says nothing of it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Cwd qw( abs_path );
use IPC::Open3;

use Fanout::Nginx;

plan(skip_all => 'the module is linked in')
    if !length Fanout::Nginx::module({});

my $run = abs_path("$FindBin::Bin/..");
my $pids = "$run/build/run/nginx.pid";

$ENV{NGINX_BINARY} = Fanout::Nginx::binary();


# until it says how to stop it, or ends

sub run {
    my ($port) = @_;

    local $ENV{PORT} = $port;

    my $pid = open3(my $in, my $out, undef, "$run/t/tools/run");
    my $said = '';

    while (my $line = readline $out) {
        $said .= $line;
        last if $line =~ /stop\s+Ctrl-C/;
    }

    return { pid => $pid, said => $said, out => $out };
}


sub ends {
    my ($r) = @_;

    waitpid $r->{pid}, 0;

    return $? >> 8;
}


sub pid_file {
    open my $f, '<', $pids or return;

    return readline $f;
}


my ($port, $other) = (free_port(), free_port());
my $first = run($port);

if ($first->{said} =~ /runs already/) {
    ends($first);
    plan(skip_all => 'somebody runs it here');
}

like($first->{said}, qr{open\s+http://127\.0\.0\.1:$port/}, 'one runs');

my $pid = pid_file();

for my $at ($port, $other) {
    my $second = run($at);

    is(ends($second), 1, 'another one does not');
    like($second->{said},
         qr{"make run" of this directory runs already, on http://127\.0\.0\.1:$port/:},
         'and says why');
}

is(pid_file(), $pid, 'the first has its files');
like(Fanout::HTTP->new(port => $port)->get('/')->{body}, qr/<title>nginx-fanout/,
     'and serves');
like(Fanout::HTTP->new(port => $port)->get('/client/fanout.js')->{body},
     qr/^export class Fanout/m, 'the client, too');

kill 'TERM', $first->{pid};
is(ends($first), 0, 'it is stopped');

my $third = run($other);

like($third->{said}, qr{open\s+http://127\.0\.0\.1:$other/},
     'and then another can run');
kill 'TERM', $third->{pid};
is(ends($third), 0, 'and be stopped');

done_testing();
