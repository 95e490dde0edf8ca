package Fanout::Clock;

=head1 NAME

Fanout::Clock - an NGINX whose time a test moves

=head1 SYNOPSIS

    use Fanout::Clock;

    my $clock = Fanout::Clock->new;
    my $nginx = $clock->start(http => ..., server => ...);

    $clock->forward(10_000);

=head1 DESCRIPTION

C<start> is that of Fanout::Nginx, with t/lib/clock.c preloaded. C<forward>
moves all clocks of all workers, the monotonic ones too, by so many
milliseconds.

=cut

use strict;
use warnings;

use Cwd qw( abs_path );
use File::Basename qw( dirname );
use File::Temp qw( tempdir );

use Fanout::Nginx ();


sub new {
    my ($class) = @_;

    my $dir = tempdir('fanout-clock-XXXXXX', TMPDIR => 1, CLEANUP => 1);
    my $lib = abs_path(dirname(__FILE__) . '/..');

    system($ENV{CC} || 'cc', qw( -O2 -Wall -fPIC -shared -o ),
           "$dir/clock.so", "$lib/clock.c") == 0 or die "clock.c: $?\n";

    open my $file, '+>', "$dir/clock" or die "clock: $!";

    my $self = bless { dir => $dir, file => $file, ms => 0 }, $class;

    $self->forward(0);

    return $self;
}


sub forward {
    my ($self, $ms) = @_;

    $self->{ms} += $ms;
    sysseek $self->{file}, 0, 0;
    syswrite $self->{file}, pack 'q', $self->{ms};
}


sub start {
    my ($self, %o) = @_;

    local $ENV{FANOUT_TEST_CLOCK}  = "$self->{dir}/clock";
    local $ENV{FANOUT_TEST_CLOCKS} = 1;
    local $ENV{LD_PRELOAD} = "$self->{dir}/clock.so";
    local $ENV{ASAN_OPTIONS} = join ':', 'verify_asan_link_order=0',
                                    grep { defined } $ENV{ASAN_OPTIONS};

    $o{main} = 'env FANOUT_TEST_CLOCK; env FANOUT_TEST_CLOCKS; '
               . 'env LD_PRELOAD; ' . ($o{main} || '');

    return Fanout::Nginx->start(%o);
}


1;
